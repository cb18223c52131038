# SPDX-License-Identifier: Apache-2.0
"""Peerings over Unix sockets."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from pineconed.transport.gate import DAWDLING, AcceptGate, AcceptLimits, Refusal
from pineconed.transport.listener import Listener, ListenError
from pineconed.transport.tcp import ConnectError
from pineconed.transport.unix import UnixPlace, UnixService, UnixStream, reach_unix
from tests.unit.transport.intake import Intake, read
from tests.unit.waiting import until


class Inn:
    """A Unix listener with its gate."""

    def __init__(self, path: Path, limits: AcceptLimits | None = None) -> None:
        self.path = path
        self.intake = Intake()
        self.gate = AcceptGate(time.monotonic, limits)
        self.place = UnixPlace(str(path))
        self.service = UnixService(self.intake, self.place)
        self.listener = Listener(self.place, self.gate, self.service.serve)

    async def close(self) -> None:
        await self.listener.close()
        await self.service.close()
        for stream in self.intake.streams:
            stream.close()


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        await check()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())


def test_bytes_come_through_both_ways(tmp_path: Path) -> None:
    async def check() -> None:
        inn = Inn(tmp_path / "peers.sock")
        await inn.listener.start()
        assert stat.S_IMODE(inn.path.stat().st_mode) == 0o660
        near = await reach_unix(str(inn.path), 1)
        await until(lambda: inn.intake.streams)
        (far,) = inn.intake.streams
        assert (near.kind, far.kind) == ("unix", "unix")
        assert far.remote == f"process {os.getpid()}"
        assert near.remote == str(inn.path)
        assert near.rtt() is far.rtt() is None
        near.send([b"hello", b" there"])
        assert await read(far, 11) == b"hello there"
        far.send([b"well"])
        assert await read(near, 4) == b"well"
        near.close()
        assert await read(far, 1) == b""
        await inn.close()
        assert not inn.path.exists()

    run(check)


def test_a_reader_that_stalls_is_seen() -> None:
    one, other = socket.socketpair()
    stream = UnixStream(one, "other")
    sent = 0
    while stream.has_room():
        sent += stream.send([bytes(16_384)])
    assert 16_384 <= sent <= 65_536
    sent += stream.send([bytes(1_000_000)])
    assert sent <= 131_072
    with pytest.raises(BlockingIOError):
        stream.send([b"x"])
    assert len(other.recv(sent, socket.MSG_WAITALL)) == sent
    assert stream.has_room()
    stream.close()
    other.close()


def test_a_file_is_replaced_only_if_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "peers.sock"

    async def check() -> None:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
        first = Inn(path)
        await first.listener.start()
        with pytest.raises(ListenError, match="another program does"):
            await Inn(path).listener.start()
        assert path.exists()
        (await reach_unix(str(path), 1)).close()
        await first.close()
        path.write_text("precious")
        with pytest.raises(ListenError, match="a file that is no socket"):
            await Inn(path).listener.start()
        assert path.read_text() == "precious"

    run(check)


def test_the_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.sock"

    async def check() -> None:
        inn = Inn(path)
        await inn.listener.start()
        path.unlink()
        other = Inn(path)
        await other.listener.start()
        await inn.close()
        assert path.exists()
        await other.close()
        assert not path.exists()

    run(check)


def test_where_no_socket_can_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()

    async def check() -> None:
        for path, words in (
            (tmp_path / "no" / "peers.sock", "its directory is not there"),
            (tmp_path / "file" / "peers.sock", "its directory is no directory"),
        ):
            with pytest.raises(ListenError, match=words):
                await Inn(path).listener.start()

    run(check)


def test_all_unix_peers_are_one_source(tmp_path: Path) -> None:
    async def check() -> None:
        inn = Inn(tmp_path / "peers.sock", AcceptLimits(half_open_per_source=2))
        await inn.listener.start()
        guests = [await reach_unix(str(inn.path), 1) for _ in range(4)]
        await until(lambda: sum(inn.gate.refusals.values()) == 2)
        assert inn.gate.refusals[Refusal.HALF_OPEN_SOURCE] == 2
        assert len(inn.intake.streams) == 2
        for guest in guests:
            guest.close()
        await inn.close()

    run(check)


def test_those_who_say_nothing_keep_nobody_out_for_long(tmp_path: Path) -> None:
    async def check() -> None:
        inn = Inn(tmp_path / "peers.sock")
        await inn.listener.start()
        crowd = [await reach_unix(str(inn.path), 1) for _ in range(100)]
        await until(lambda: inn.gate.accepted + sum(inn.gate.refusals.values()) == 100)
        assert inn.gate.half_open == 16
        await asyncio.sleep(DAWDLING)
        guest = await reach_unix(str(inn.path), 1)
        await until(lambda: len(inn.intake.streams) == 17)
        guest.send([b"here"])
        assert await read(inn.intake.streams[-1], 4) == b"here"
        for each in (*crowd, guest):
            each.close()
        await inn.close()

    run(check)


def test_dialling_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "peers.sock"

    async def check() -> None:
        with pytest.raises(ConnectError, match="there is no such socket"):
            await reach_unix(str(path), 1)
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
        with pytest.raises(ConnectError, match="nobody listens there"):
            await reach_unix(str(path), 1)
        path.unlink()
        path.touch()
        with pytest.raises(ConnectError, match="nobody listens there"):
            await reach_unix(str(path), 1)

    run(check)


def test_a_listener_that_is_busy_counts_as_alive(tmp_path: Path) -> None:
    path = tmp_path / "peers.sock"

    async def check() -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
            busy.bind(str(path))
            busy.listen(0)
            waiting.connect(str(path))
            with pytest.raises(ListenError, match="another program does"):
                await Inn(path).listener.start()
            with pytest.raises(ConnectError, match="no answer"):
                await reach_unix(str(path), 0.2)

    run(check)


def _linger(seconds: int) -> socket.socket:
    """A TCP socket whose last holder waits so long in close(): nobody reads what is in it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        full = socket.create_connection(server.getsockname())
    full.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            full.send(bytes(65_536))
    full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    return full


def test_descriptors_that_a_peer_sends_along_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def check() -> None:
        inn = Inn(tmp_path / "peers.sock")
        await inn.listener.start()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(inn.path))
            with _linger(3) as slow, pytest.raises(PermissionError):
                socket.send_fds(caller, [b"x"], [slow.fileno()])
            caller.send(b"y")
            await until(lambda: inn.intake.streams)
            assert await read(inn.intake.streams[0], 1) == b"y"
        await inn.close()

    _skip_before_linux_6_16()
    run(check)


def test_neither_do_those_of_a_peer_that_was_dialled(tmp_path: Path) -> None:
    async def check() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "peers.sock"))
            listener.listen()
            near = await reach_unix(str(tmp_path / "peers.sock"), 1)
            far, _ = listener.accept()
            with far, _linger(0) as slow, pytest.raises(PermissionError):
                socket.send_fds(far, [b"x"], [slow.fileno()])
            near.close()

    _skip_before_linux_6_16()
    run(check)


def _skip_before_linux_6_16() -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 16):
        pytest.skip("the kernel cannot refuse descriptors")
