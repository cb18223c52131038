# SPDX-License-Identifier: Apache-2.0
"""The key file: made once and completely, read only if nobody else can."""

import errno
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from pineconed.daemon import identity
from pineconed.daemon.errors import StartError
from pineconed.daemon.identity import (
    NodeKey,
    find_credential,
    key_line,
    new_seed,
    open_credential,
    open_key,
    write_key,
)

SEED = bytes(range(32))


@pytest.fixture
def opened() -> Iterator[list[NodeKey]]:
    """Keys opened in a test; closed at its end."""
    keys: list[NodeKey] = []
    yield keys
    for key in keys:
        os.close(key.descriptor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.key"


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_missing_key_is_made_with_its_folder(tmp_path: Path, opened: list[NodeKey]) -> None:
    path = tmp_path / "state" / "node.key"
    opened.append(open_key(path))
    assert opened[0].created
    assert path.read_text() == opened[0].seed.hex() + "\n"
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_the_next_start_finds_the_same_key(path: Path, opened: list[NodeKey]) -> None:
    opened.extend((open_key(path), open_key(path)))
    assert opened[0].seed == opened[1].seed
    assert not opened[1].created


def test_the_mode_of_a_new_key_does_not_depend_on_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        write_key(path, SEED)
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600


def test_two_keys_differ() -> None:
    assert new_seed() != new_seed()


@pytest.mark.parametrize("text", [key_line(SEED), SEED.hex().upper(), f"  {SEED.hex()}\r\n\n"])
def test_a_key_may_stand_in_spaces_and_capitals(path: Path, opened: list[NodeKey], text: str) -> None:
    path.touch(0o600)
    path.write_text(text)
    opened.append(open_key(path))
    assert opened[0].seed == SEED


@pytest.mark.parametrize(
    "text", ["", "\n", "00" * 31, "00" * 33, "zz" * 32, f"{SEED.hex()}\n{SEED.hex()}", "0" * 5000]
)
def test_what_is_no_key_is_refused(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(StartError, match="64 hexadecimal digits; restore it from your copy"):
        open_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_key_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    write_key(path, SEED)
    path.chmod(mode)
    with pytest.raises(StartError, match=rf"open to others \(mode {mode:04o}\).*chmod 600 {path}"):
        open_key(path)


def test_a_key_that_nobody_may_write_is_fine(path: Path, opened: list[NodeKey]) -> None:
    write_key(path, SEED)
    path.chmod(0o400)
    opened.append(open_key(path))
    assert opened[0].seed == SEED


@pytest.mark.root
def test_a_key_of_somebody_else_is_refused(path: Path) -> None:
    write_key(path, SEED)
    os.chown(path, 12345, -1)
    with pytest.raises(StartError, match=f"belongs to user 12345.*chown root {path}"):
        open_key(path)


@pytest.mark.root
def test_the_key_of_the_service_is_not_to_be_taken_from_it(path: Path) -> None:
    write_key(path, SEED)
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(StartError, match=r"belongs to user nobody, .*; if it is the service's, run that"):
        open_key(path)


def test_a_key_of_root_or_of_ourselves_is_fine_for_a_user(
    path: Path, opened: list[NodeKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key(path, SEED)
    opened.append(open_key(path))
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        opened.append(open_key(path))


@pytest.mark.timeout(5)
def test_a_pipe_is_refused_and_does_not_hold_up(path: Path) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(StartError, match="not a regular file"):
        open_key(path)


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot create the key file .* No such file .* --key-file"):
        open_key(tmp_path / "a" / "b" / "node.key")


def test_a_name_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot read the key file .*: Not a directory"):
        open_key(tmp_path / "file" / "node.key")


def test_a_key_is_never_overwritten_and_nothing_is_left(path: Path) -> None:
    write_key(path, SEED)
    with pytest.raises(FileExistsError):
        write_key(path, new_seed())
    assert path.read_text() == key_line(SEED)
    assert list(path.parent.iterdir()) == [path]


def test_a_key_that_another_daemon_made_meanwhile_is_taken(
    path: Path, opened: list[NodeKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_second(path: Path, seed: bytes) -> None:
        write_key(path, SEED)
        write_key(path, seed)

    monkeypatch.setattr(identity, "write_key", write_second)
    opened.append(open_key(path))
    assert (opened[0].seed, opened[0].created) == (SEED, False)


def test_a_full_disk_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StartError, match="No space left"):
        open_key(path)
    assert list(path.parent.iterdir()) == []


# ---------------------------------------------------------------- a credential of systemd


def credential(tmp_path: Path, text: str = key_line(SEED), mode: int = 0o440) -> Path:
    """A file such as systemd makes: the mode shows the mask of its access list."""
    path = tmp_path / "node.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_credential_is_the_key(tmp_path: Path, opened: list[NodeKey]) -> None:
    path = credential(tmp_path)
    assert find_credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == path
    opened.append(open_credential(path))
    assert (opened[0].seed, opened[0].created) == (SEED, False)


def test_without_a_credential_of_this_name_the_key_file_counts(tmp_path: Path) -> None:
    assert find_credential({}) is None
    assert find_credential({"CREDENTIALS_DIRECTORY": ""}) is None
    assert find_credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("", 0o400, "does not hold one line of 64 hexadecimal digits"),
        (SEED.hex()[1:], 0o400, "does not hold one line of 64 hexadecimal digits"),
        (SEED.hex(), 0o444, "is open to every user"),
    ],
)
def test_a_wrong_credential_is_told_with_its_setting(
    tmp_path: Path, text: str, mode: int, complaint: str
) -> None:
    with pytest.raises(StartError, match=f"the credential .*{complaint}.*LoadCredential="):
        open_credential(credential(tmp_path, text, mode))


def test_a_credential_that_cannot_be_looked_at_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert find_credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == tmp_path / "node.key"


def test_a_credential_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot read the credential"):
        open_credential(tmp_path / "node.key")
    (tmp_path / "node.key").mkdir()
    with pytest.raises(StartError, match="does not hold one line"):
        open_credential(tmp_path / "node.key")
