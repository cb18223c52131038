# SPDX-License-Identifier: Apache-2.0
"""One daemon per key and per admin socket, and only dead sockets are removed."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pineconed.daemon.errors import StartError
from pineconed.daemon.identity import write_key
from pineconed.daemon.lock import claim_socket, lock_key

PID = os.getpid()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as things:
        yield things


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "node.key"
    write_key(path, bytes(32))
    return path


def open_file(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor


def listening_at(path: Path, stack: ExitStack, kind: int = socket.SOCK_STREAM) -> socket.socket:
    server = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    server.bind(str(path))
    if kind == socket.SOCK_STREAM:
        server.listen(1)
    return server


# ---------------------------------------------------------------- the key


def test_a_second_lock_on_a_key_is_refused_and_the_holder_named(key: Path, stack: ExitStack) -> None:
    assert lock_key(open_file(key, stack), key)
    with pytest.raises(
        StartError, match=rf"another pineconed \(process {PID}\) runs with the key {key}; stop"
    ):
        lock_key(open_file(key, stack), key)


def test_the_lock_is_on_the_file_not_on_its_name(key: Path, stack: ExitStack) -> None:
    other = key.with_name("the same key mounted elsewhere")
    other.hardlink_to(key)
    assert lock_key(open_file(key, stack), key)
    with pytest.raises(StartError):
        lock_key(open_file(other, stack), other)


def test_the_lock_ends_with_its_descriptor(key: Path, stack: ExitStack) -> None:
    first = os.open(key, os.O_RDONLY)
    assert lock_key(first, key)
    os.close(first)
    assert lock_key(open_file(key, stack), key)


def test_the_message_makes_do_without_a_holder(
    key: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise PermissionError

    assert lock_key(open_file(key, stack), key)
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(StartError, match="another pineconed runs with the key"):
        lock_key(open_file(key, stack), key)


def test_a_file_system_without_locks_is_reported(
    key: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    assert not lock_key(open_file(key, stack), key)


# ---------------------------------------------------------------- the socket


def test_a_claim_makes_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run" / "admin.sock"
    claim = claim_socket(path)
    assert list(path.parent.iterdir()) == [claim.lock_path]
    assert claim.lock_path.stat().st_mode & 0o777 == 0o600
    claim.release()
    assert list(path.parent.iterdir()) == []


def test_a_second_claim_is_refused_and_the_holder_named(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "admin.sock"
    stack.callback(claim_socket(path).release)
    with pytest.raises(
        StartError, match=rf"another pineconed \(process {PID}\) uses the admin socket {path}; stop"
    ):
        claim_socket(path)


def test_after_a_release_the_next_may_claim(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    claim_socket(path).release()
    claim_socket(path).release()


def test_a_dead_socket_is_removed(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "admin.sock"
    listening_at(path, stack).close()
    assert path.is_socket()
    stack.callback(claim_socket(path).release)
    assert not path.exists()


def test_a_socket_on_which_somebody_answers_stays(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "admin.sock"
    listening_at(path, stack)
    with pytest.raises(StartError, match=rf"another program \(process {PID}\) uses the admin socket {path}"):
        claim_socket(path)
    assert path.is_socket()


@pytest.mark.timeout(10)
def test_one_that_is_too_busy_to_answer_stays(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "admin.sock"
    listening_at(path, stack)
    for _ in range(2):  # fills the queue of connections that nobody accepts
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
    with pytest.raises(StartError, match="another program uses the admin socket"):
        claim_socket(path)
    assert path.is_socket()


def test_a_socket_of_another_kind_stays(tmp_path: Path, stack: ExitStack) -> None:
    path = tmp_path / "admin.sock"
    listening_at(path, stack, socket.SOCK_DGRAM)
    with pytest.raises(StartError, match="another program uses the admin socket"):
        claim_socket(path)
    assert path.is_socket()


def test_a_file_is_not_taken_for_a_dead_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(StartError, match=f"{path} is not a socket; move it away"):
        claim_socket(path)
    assert path.read_text() == "precious"


def test_a_failed_claim_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.touch()
    with pytest.raises(StartError):
        claim_socket(path)
    path.unlink()
    claim_socket(path).release()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        StartError,
        match=r"cannot create the admin socket .*: No such file or directory; .* --admin-socket none",
    ):
        claim_socket(tmp_path / "a" / "b" / "admin.sock")


def test_a_lock_file_that_its_holder_just_removed_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "admin.sock"
    real_flock = fcntl.flock
    calls: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not calls:  # the holder unlinks its file between our open and our lock
            path.with_name("admin.sock.lock").unlink()
        calls.append(descriptor)
        real_flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    claim = claim_socket(path)
    assert len(calls) == 2
    assert claim.lock_path.exists()
    claim.release()
