# SPDX-License-Identifier: Apache-2.0
"""Permissions of the socket, and why one cannot be made."""

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pineconed.admin.errors import AdminSocketError
from pineconed.admin.listener import MAX_PATH_BYTES, open_listener


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def tight_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def bits(path: Path) -> int:
    """The permission bits of a socket."""
    status = path.stat()
    assert stat.S_ISSOCK(status.st_mode)
    return stat.S_IMODE(status.st_mode)


@pytest.mark.usefixtures("tight_umask")
@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
def test_the_mode_is_the_one_asked_for(tmp_path: Path, mode: int) -> None:
    with open_listener(tmp_path / "s", mode, None):
        assert bits(tmp_path / "s") == mode


@pytest.mark.usefixtures("loose_umask")
def test_the_file_is_never_open_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda path, _: seen.append(bits(path)))
    with open_listener(tmp_path / "s", 0o660, None):
        assert seen == [0o660], "bind() itself must have made it so"


def test_the_group(tmp_path: Path) -> None:
    own = os.getgid()
    groups: list[int | str] = [own, str(own), grp.getgrgid(own).gr_name]
    for number, group in enumerate(groups):
        with open_listener(tmp_path / f"s{number}", 0o660, group):
            assert (tmp_path / f"s{number}").stat().st_gid == own


@pytest.mark.root
def test_another_group(tmp_path: Path) -> None:
    with open_listener(tmp_path / "s", 0o660, 12345):
        assert (tmp_path / "s").stat().st_gid == 12345


def test_an_unknown_group_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(AdminSocketError, match="no group 'no-such-group'") as refusal:
        open_listener(tmp_path / "s", 0o660, "no-such-group")
    assert "groupadd" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_may_not_be_given_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(AdminSocketError, match="not permitted") as refusal:
        open_listener(tmp_path / "s", 0o660, 4)
    assert "group" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(AdminSocketError, match="in use"):
        open_listener(tmp_path / "s", 0o660, None)
    assert (tmp_path / "s").read_text() == "mine"


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AdminSocketError, match="No such file") as refusal:
        open_listener(tmp_path / "missing" / "s", 0o660, None)
    assert "create the directory" in refusal.value.remedy


def test_the_longest_path(tmp_path: Path) -> None:
    longest = tmp_path / ("s" * (MAX_PATH_BYTES - len(os.fsencode(tmp_path)) - 1))
    with open_listener(longest, 0o660, None):
        assert longest.exists()
    with pytest.raises(AdminSocketError, match="longer than 107"):
        open_listener(longest.with_name(longest.name + "x"), 0o660, None)
