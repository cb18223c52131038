# SPDX-License-Identifier: Apache-2.0
"""The file of the saved peers: what is written reads as the same, mistakes have their line."""

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.admin.errors import SaveError
from pineconed.daemon.config import Config
from pineconed.daemon.config_load import ConfigError, Loaded
from pineconed.daemon.saved_peers import read_saved, with_saved, write_saved
from pineconed.transport.uri import parse_peer_uri

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=20)


@st.composite
def uris(draw: st.DrawFn) -> str:
    """URIs as the daemon keeps them, with what is hardest to quote."""
    uri = parse_peer_uri(
        draw(
            st.one_of(
                st.builds("ws://h{}.example:{}/{}".format, st.integers(0, 9), st.integers(1, 65535), VISIBLE),
                st.builds("unix:///run/{}x".format, VISIBLE),
                st.builds("tls://h:{}?key={}".format, st.integers(1, 65535), st.sampled_from(["ab" * 32])),
            )
        )
    )
    return uri.text


@given(st.lists(uris(), max_size=5, unique_by=lambda text: parse_peer_uri(text).name))
def test_what_is_written_is_read(texts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peers.toml"
        write_saved(path, texts)
        assert read_saved(path) == tuple(texts)


@given(WORDS)
def test_passwords_survive(password: str) -> None:
    from urllib.parse import quote  # noqa: PLC0415

    text = parse_peer_uri(f"tls://h:1?password={quote(password, safe='')}").text
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peers.toml"
        write_saved(path, [text])
        [read] = read_saved(path)
        assert parse_peer_uri(read).options.password == password


def test_nobody_else_may_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_text("")
    path.chmod(0o644)
    write_saved(path, ["tls://h:1?password=x"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_means_no_peers(tmp_path: Path) -> None:
    assert read_saved(tmp_path / "peers.toml") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("connect = [\n  'tcp://a:1',\n  'gopher://x',\n]\n", ":3: connect: "),
        ("\nlisten = []\n", ":2: listen: unknown key; known here: connect"),
        ("connect = [\n", ":1: not valid TOML"),
        ("connect = 'tcp://a:1'", ":1: connect: expected a list"),
        ("connect = [\n'tcp://a:1',\n'tcp://A:1']", ":3: connect: "),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "peers.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_saved(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.mkdir()
    with pytest.raises(SaveError, match=r"cannot write .*peers\.toml: Is a directory"):
        write_saved(path, ["tcp://a:1"])
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SaveError, match="No such file or directory"):
        write_saved(tmp_path / "absent" / "peers.toml", [])


def test_the_file_is_beside_the_key_unless_it_is_named(tmp_path: Path) -> None:
    assert Config().saved_peers == Path("/var/lib/pineconed/peers.toml")
    path = tmp_path / "mine.toml"
    write_saved(path, ["tcp://a:1"])
    section = type(Config().peering)(saved_peers=str(path))
    loaded = with_saved(Loaded(Config(peering=section), None, "file"))
    assert loaded.saved == ("tcp://a:1",)
