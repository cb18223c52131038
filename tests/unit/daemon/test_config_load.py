# SPDX-License-Identifier: Apache-2.0
"""From a file to a configuration, and what an operator is told of every mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pineconed.daemon import config_load
from pineconed.daemon.config import Config
from pineconed.daemon.config_load import ConfigError, Loaded, Overrides, load

NO_FLAGS = Overrides()
LoadText = Callable[[str | bytes], Loaded]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Load a configuration file with this text."""

    def load_this(text: str | bytes) -> Loaded:
        path = tmp_path / "x.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, NO_FLAGS)

    return load_this


@pytest.fixture
def complaints(tmp_path: Path, load_text: LoadText) -> Callable[[str | bytes], list[str]]:
    """What is wrong with this text, each line without the name of the file."""

    def complain(text: str | bytes) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        return str(caught.value).replace(f"{tmp_path}/x.toml:", "").splitlines()

    return complain


Complaints = Callable[[str | bytes], list[str]]


def test_an_empty_file_means_all_defaults(load_text: LoadText) -> None:
    assert load_text("").config == Config()


def test_a_full_file_is_read(load_text: LoadText) -> None:
    config = load_text(
        """
        listen = ["tcp://[::]:4444", "127.0.0.1:0"]
        connect = ["tcp://peer.example.org:4444"]
        [node]
        key_file = "/somewhere/key"
        [tun]
        enabled = false
        name = "auto"
        mtu = 1280
        route = false
        [admin]
        enabled = false
        socket = "/somewhere/sock"
        mode = "600"
        group = "wheel"
        [log]
        level = "debug"
        format = "json"
        [peering]
        backoff_min = 2
        backoff_max = 2.5
        half_open = 1
        """
    ).config
    assert config.listen == ("tcp://[::]:4444", "127.0.0.1:0")
    assert config.connect == ("tcp://peer.example.org:4444",)
    assert config.node.key_file == Path("/somewhere/key")
    assert (config.tun.enabled, config.tun.name, config.tun.mtu, config.tun.route) == (
        False,
        "auto",
        1280,
        False,
    )
    assert (config.admin.enabled, config.admin.socket) == (False, Path("/somewhere/sock"))
    assert (config.admin.mode_bits, config.admin.group_name) == (0o600, "wheel")
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert (config.peering.backoff_min, config.peering.backoff_max, config.peering.half_open) == (2, 2.5, 1)


@pytest.mark.parametrize(("group", "name"), [("", None), ("44", 44), ("adm", "adm")])
def test_a_group_is_a_name_a_number_or_nothing(load_text: LoadText, group: str, name: object) -> None:
    assert load_text(f'[admin]\ngroup = "{group}"').config.admin.group_name == name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\nconect = []", "2: conect: unknown key or section; did you mean connect?"),
        ("[tunn]\nmtu = 1400", "1: tunn: unknown key or section; did you mean tun?"),
        ("[tun]\n\nmtuu = 1", "3: tun.mtuu: unknown key; did you mean mtu?"),
        (
            "[tun]\nconnect = []",
            "2: tun.connect: unknown key; connect belongs at the top of the file, above the first [section]",
        ),
        ("mtu = 1400", "1: mtu: unknown key or section; mtu belongs under [tun]"),
        (
            "[log]\nxyz = 1",
            "2: log.xyz: unknown key; known here: level, format",
        ),
        ('[log]\n"a\\nb" = 1', '2: log."a\\nb": unknown key; known here: level, format'),
        (
            "admin = true",
            "1: admin: is a section: write [admin] on a line of its own and its keys below it",
        ),
        (
            '[tun]\nmtu = "1400"',
            '2: tun.mtu: expected a whole number from 1280 to 65000, found "1400"',
        ),
        ("[tun]\nmtu = 1279", "2: tun.mtu: expected a whole number from 1280 to 65000, found 1279"),
        ("[tun]\nmtu = true", "2: tun.mtu: expected a whole number from 1280 to 65000, found true"),
        ("[tun]\nenabled = 1", "2: tun.enabled: expected true or false, found 1"),
        (
            '[tun]\nname = "none"',
            (
                "2: tun.name: expected an interface name of 1 to 15 letters, digits, '_', '-' or '.', "
                'or "auto", found "none"'
            ),
        ),
        (
            "[peering]\nbackoff_max = nan",
            "2: peering.backoff_max: expected a number from 0.1 to 86400, found NaN",
        ),
        (
            "[multicast]\nbeacon = false\nlisten = false",
            (
                "3: multicast.listen: with beacon and listen both false there is nothing to do; "
                "write enabled = false instead"
            ),
        ),
        (
            '[multicast]\ninclude = ["eth0", "eth 1"]',
            (
                "2: multicast.include: 'eth 1' is no name of a network interface; "
                "write such as eth0 or eth* (see ip link)"
            ),
        ),
        (
            '[multicast]\nexclude = "eth0"',
            (
                "2: multicast.exclude: expected a list of names in double quotes "
                'such as ["docker*"], found "eth0"'
            ),
        ),
        (
            "[peering]\nbackoff_min = 61",
            "2: peering.backoff_min: 61 is more than backoff_max (60); swap or raise one",
        ),
        (
            '[overlay]\nbare_ipv6 = ["abc"]',
            (
                "2: overlay.bare_ipv6: a public key has 64 hexadecimal digits, this has 3; "
                "write a public key (64 hexadecimal digits) or an address that begins with fd"
            ),
        ),
        (
            '[overlay]\nbare_ipv6 = ["2001:db8::1"]',
            (
                "2: overlay.bare_ipv6: '2001:db8::1' is not an overlay address: those begin with fd; "
                "write a public key (64 hexadecimal digits) or an address that begins with fd"
            ),
        ),
        ("[overlay]\nbare_ipv6 = [5]", "2: overlay.bare_ipv6: expected text in double quotes, found 5"),
        (
            '[overlay]\nbare_ipv6 = "fd01::1"',
            (
                "2: overlay.bare_ipv6: expected a list of keys or addresses in double quotes such as "
                '["fd57:ecb0:..."], found "fd01::1"'
            ),
        ),
        (
            f'[overlay]\nbare_ipv6 = ["{"01" * 32}", "fd01:101:101:101:101:101:101:101"]',
            (
                '2: overlay.bare_ipv6: "fd01:101:101:101:101:101:101:101" means the same as '
                f'"{"01" * 29}0... before it in the list; remove one'
            ),
        ),
        (
            "[overlay]\nrekey_after = 121",
            "2: overlay.rekey_after: expected a number from 1 to 120, found 121",
        ),
        (
            '[node]\nkey_file = "here"',
            '2: node.key_file: expected an absolute path (it begins with /) in double quotes, found "here"',
        ),
        (
            "[node]\nkey_file = 3",
            "2: node.key_file: expected an absolute path (it begins with /) in double quotes, found 3",
        ),
        (
            f'[admin]\nsocket = "/{"x" * 107}"',
            "2: admin.socket: the path of a Unix socket has at most 107 bytes; use a shorter one",
        ),
        (
            f'[admin]\nstatus_socket = "/{"x" * 107}"',
            "2: admin.status_socket: the path of a Unix socket has at most 107 bytes; use a shorter one",
        ),
        (
            '[admin]\nsocket = "/s"\nstatus_socket = "/s"',
            "3: admin.status_socket: it is the path of the admin socket; choose another one",
        ),
        (
            "[admin]\nmode = 0o660",
            '2: admin.mode: expected an octal permission mode in quotes such as "0660", found 432',
        ),
        (
            '[log]\nlevel = "loud"',
            '2: log.level: expected "debug", "info", "warning" or "error", found "loud"',
        ),
        (
            'listen = "tcp://[::]:1"',
            '1: listen: expected a list such as ["tcp://host:port"], found "tcp://[::]:1"',
        ),
        ("connect = [1]", "1: connect: expected text in double quotes, found 1"),
        (
            'connect = [\n"tcp://a:1",\n"a:1"]',
            '3: connect: "a:1" means the same as "tcp://a:1" before it in the list; remove one',
        ),
        ('connect = ["a:1", "a:1"]', '1: connect: "a:1" is in the list twice; remove one'),
        (
            'connect = ["tls://a:1?password=secret"]\nlisten = "tls://a:1?password=secret"',
            '2: listen: expected a list such as ["tcp://host:port"], found "tls://a:1?password=..."',
        ),
        (
            'peers = ["tcp://a:1"]',
            (
                "1: peers: unknown key or section; known here: listen, connect, node, tun, "
                "overlay, admin, log, peering, multicast, ble"
            ),
        ),
        (
            f'[log]\nlevel = "{"x" * 99}"',
            f'2: log.level: expected "debug", "info", "warning" or "error", found "{"x" * 59}...',
        ),
    ],
)
def test_a_mistake_is_told_with_line_key_and_remedy(
    complaints: Complaints, text: str, complaint: str
) -> None:
    assert complaints(text) == [complaint]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('listen = [\n"tcp://[::]:1",\n"nonsense"]', "3: listen: 'nonsense': no port; "),
        ('connect = ["ftp://a:1"]', "1: connect: 'ftp://a:1': unknown scheme 'ftp'; "),
        ('connect = ["tcp://[::]:1"]', "1: connect: 'tcp://[::]:1': :: means any address"),
    ],
)
def test_a_bad_uri_is_told_in_the_words_of_its_reader(
    complaints: Complaints, text: str, complaint: str
) -> None:
    [line] = complaints(text)
    assert line.startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "\n\nlisten = [tcp://x:1]",
            (
                "3: not valid TOML at column 11: invalid value "
                '(text needs double quotes: name = "pine0"; lists need brackets: listen = []; '
                "switches are true or false)"
            ),
        ),
        (
            "listen = []\nlisten = []\n\n",
            (
                "2: not valid TOML at column 12: cannot overwrite a value "
                "(the same key is set twice; remove one)"
            ),
        ),
        (
            "[tun]\n[log]\n[tun]\n",
            (
                "3: not valid TOML at column 5: cannot declare ('tun',) twice "
                "(the same section begins twice; join the two)"
            ),
        ),
        ('listen = ["a:1"', "1: not valid TOML: unclosed array (a list ends with a ])"),
        (
            'a = 1\nlisten = "a\n',
            "2: not valid TOML at column 12: illegal character '\\n' (a text in \" ends on its line)",
        ),
        (
            "[admin]\nmode = 0660\n",
            (
                "2: not valid TOML at column 9: expected newline or end of document after a statement "
                '(one setting a line; permissions stand in quotes: mode = "0660")'
            ),
        ),
        (b"a = 1\nb = '\xff'\n", "2: is not UTF-8 text; save the file in that encoding"),
        (b"#" * ((1 << 20) + 1), " is larger than 1 MiB, so it is hardly a configuration file"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(
    complaints: Complaints, text: str | bytes, complaint: str
) -> None:
    assert complaints(text) == [complaint]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(complaints: Complaints) -> None:
    lines = complaints('[log]\nlevel = 1\n[tun]\nmtu = 1\nfoo = 2\n[node]\nkey_file = ""')
    assert [line.split(": ")[0:2] for line in lines] == [
        ["2", "log.level"],
        ["4", "tun.mtu"],
        ["5", "tun.foo"],
        ["7", "node.key_file"],
    ]


def test_a_byte_order_mark_does_no_harm(load_text: LoadText) -> None:
    assert load_text("\ufeff[tun]\r\nmtu = 1400\r\n").config.tun.mtu == 1400


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; `pineconed genconf`"):
        load(tmp_path / "absent", NO_FLAGS)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name the file in it with --config"):
        load(tmp_path, NO_FLAGS)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory; run as a user who may read it"):
        load(Path("/dev/null/c"), NO_FLAGS)


def test_a_missing_default_file_means_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_load, "DEFAULT_CONFIG_PATH", tmp_path / "absent")
    assert load(None, NO_FLAGS) == Loaded(Config(), None, "file")


def test_the_default_file_is_read_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pineconed.toml"
    path.write_text("[tun]\nmtu = 1400")
    monkeypatch.setattr(config_load, "DEFAULT_CONFIG_PATH", path)
    loaded = load(None, NO_FLAGS)
    assert (loaded.config.tun.mtu, loaded.source) == (1400, path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", Path("/run/pineconed/status.sock")),
        ('status_socket = "none"', None),
        ('status_socket = "/s"', Path("/s")),
        ('socket = "/a"', None),
        ('socket = "/a"\nstatus_socket = "/s"', Path("/s")),
    ],
)
def test_the_status_socket_goes_with_the_default_admin_socket(
    load_text: LoadText, text: str, path: Path | None
) -> None:
    assert load_text(f"[admin]\n{text}").config.admin.status_path == path
