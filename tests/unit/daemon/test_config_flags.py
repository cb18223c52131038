# SPDX-License-Identifier: Apache-2.0
"""Flags above a file, and what an operator is told of mistakes in them."""

from pathlib import Path

import pytest

from pineconed.daemon.config_load import ConfigError, Overrides, load

NO_FLAGS = Overrides()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that sets what the flags set too."""
    path = tmp_path / "x.toml"
    path.write_text(
        'listen = ["a:1", "b:2"]\nconnect = ["c:3"]\n'
        '[tun]\nname = "file0"\nmtu = 1400\n[log]\nlevel = "error"'
    )
    return path


def test_flags_stand_above_the_file_and_replace_its_lists(file: Path) -> None:
    flags = Overrides(listen=("d:4",), connect=("e:5", "f:6"), tun="flag0", log_level="debug")
    loaded = load(file, flags)
    assert loaded.config.listen == ("d:4",)
    assert loaded.config.connect == ("e:5", "f:6")
    assert (loaded.config.tun.name, loaded.config.tun.mtu) == ("flag0", 1400)
    assert loaded.config.log.level == "debug"
    assert loaded.connect_source == "flag"


def test_without_flags_the_file_counts(file: Path) -> None:
    loaded = load(file, NO_FLAGS)
    assert (loaded.config.listen, loaded.config.tun.name) == (("a:1", "b:2"), "file0")
    assert loaded.connect_source == "file"


@pytest.mark.parametrize("multicast", [True, False])
def test_discovery_is_switched_by_a_flag(tmp_path: Path, multicast: bool) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"[multicast]\nenabled = {str(not multicast).lower()}")
    assert load(path, NO_FLAGS).config.multicast.enabled is not multicast
    assert load(path, Overrides(multicast=multicast)).config.multicast.enabled is multicast


def test_paths_in_flags_start_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(None, Overrides(key_file=Path("k"), admin_socket="s")).config
    assert (config.node.key_file, config.admin.socket) == (tmp_path / "k", tmp_path / "s")


def test_none_switches_the_interface_and_the_socket_off(file: Path) -> None:
    config = load(file, Overrides(tun="none", admin_socket="none")).config
    assert (config.tun.enabled, config.admin.enabled) == (False, False)


def test_a_name_switches_the_interface_on_again(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[tun]\nenabled = false")
    assert load(path, Overrides(tun="auto")).config.tun.enabled


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (Overrides(listen=("x",)), "--listen: 'x': no port; "),
        (
            Overrides(connect=("a:1", "tcp://a:1")),
            '--connect: "tcp://a:1" means the same as "a:1" before it in the list; remove one',
        ),
        (Overrides(tun="a b"), "--tun: expected an interface name "),
        (
            Overrides(admin_socket="/" + "x" * 107),
            "--admin-socket: the path of a Unix socket has at most 107 bytes",
        ),
        (Overrides(log_level="loud"), '--log-level: expected "debug", "info", "warning" or "error"'),
        (Overrides(key_file=Path("/a\0b")), "--key-file: expected an absolute path"),
    ],
)
def test_a_mistake_in_a_flag_names_the_flag(flags: Overrides, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, flags)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("text", "flags", "complaint"),
    [
        (
            '[admin]\nstatus_socket = "/run/s"',
            Overrides(admin_socket="/run/s"),
            "--admin-socket: it is the path of the admin socket; choose another one",
        ),
        (
            "[multicast]\nenabled = false\nbeacon = false\nlisten = false",
            Overrides(multicast=True),
            "--multicast: with beacon and listen both false there is nothing to do; ",
        ),
    ],
)
def test_a_flag_that_does_not_go_with_the_file_is_named(
    tmp_path: Path, text: str, flags: Overrides, complaint: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, flags)
    assert str(caught.value).startswith(complaint)
