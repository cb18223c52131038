# SPDX-License-Identifier: Apache-2.0
"""Listeners on TCP: addresses, limits, and whatever accept(2) may answer."""

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from pineconed.router.events import LinkDown
from pineconed.transport import listener as listener_module
from pineconed.transport import tcp_place
from pineconed.transport.gate import AcceptGate, AcceptLimits, Refusal, Visit
from pineconed.transport.listener import Listener, ListenError
from pineconed.transport.resolve import SocketAddress
from pineconed.transport.stream import SocketStream
from pineconed.transport.tcp_place import TcpPlace
from tests.unit.waiting import until

KEEP_OUT = AcceptLimits(links_per_source=0)


class Hall:
    """Takes in what a listener hands over."""

    def __init__(self, limits: AcceptLimits | None = None) -> None:
        self.gate = AcceptGate(time.monotonic, limits)
        self.streams: list[SocketStream] = []
        self.failures: list[tuple[str, float]] = []
        self._came = asyncio.Event()

    def serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        self.streams.append(SocketStream(accepted, remote))
        self._came.set()
        visit.opened(len(self.streams))

    def listener(self, host: str = "127.0.0.1", port: int = 0) -> Listener:
        place = TcpPlace(host, port)
        return Listener(place, self.gate, self.serve, lambda *failure: self.failures.append(failure))

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.streams) < count:
                self._came.clear()
                await self._came.wait()

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


def with_hall(check: Callable[[Hall], Awaitable[None]], limits: AcceptLimits | None = None) -> None:
    async def run() -> None:
        with closing(Hall(limits)) as hall:
            await check(hall)

    asyncio.run(run())


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def dial(address: str, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port_of(address)), 5)


def test_hands_over_streams_and_stops_when_closed() -> None:
    async def check(hall: Hall) -> None:
        listener = hall.listener()
        assert listener.addresses == []
        await listener.start()
        with dial(listener.address) as first, dial(listener.address):
            await hall.wait_for(2)
            assert hall.streams[0].remote == f"127.0.0.1:{first.getsockname()[1]}"
            assert hall.gate.half_open == 2
        address = listener.address
        await listener.close()
        with pytest.raises(ConnectionRefusedError):
            dial(address)

    with_hall(check)


def test_any_address_takes_ipv4_and_ipv6() -> None:
    async def check(hall: Hall) -> None:
        listener = hall.listener("::")
        await listener.start()
        with dial(listener.address), dial(listener.address, "::1"):
            await hall.wait_for(2)
        hosts = [stream.remote.rpartition(":")[0] for stream in hall.streams]
        assert hosts == ["127.0.0.1", "[::1]"]
        await listener.close()

    with_hall(check)


def test_any_ipv6_address_stands_beside_any_ipv4_address() -> None:
    async def check(hall: Hall) -> None:
        four = hall.listener("0.0.0.0")
        await four.start()
        six = hall.listener("::", port_of(four.address))
        with capture_logs() as logs:
            await six.start()
        assert [entry["event"] for entry in logs] == [
            "listening for IPv6 only, because IPv4 has this port already"
        ]
        with dial(four.address), dial(four.address, "::1"):
            await hall.wait_for(2)
        await four.close()
        await six.close()

    with_hall(check)


def test_one_ipv6_address_takes_only_ipv6() -> None:
    async def check(hall: Hall) -> None:
        listener = hall.listener("::1")
        await listener.start()
        with dial(listener.address, "::1"):
            await hall.wait_for(1)
        await listener.close()

    with_hall(check)


def test_a_refused_stream_is_reset() -> None:
    async def check(hall: Hall) -> None:
        listener = hall.listener()
        await listener.start()
        with dial(listener.address) as refused, pytest.raises(ConnectionResetError):
            await asyncio.to_thread(refused.recv, 1)
        assert hall.streams == []
        assert hall.gate.refusals[Refusal.LINKS_SOURCE] == 1
        await listener.close()

    with_hall(check, KEEP_OUT)


def test_hundreds_at_once_from_one_address_leave_only_their_share() -> None:
    async def check(hall: Hall) -> None:
        listener = hall.listener()
        await listener.start()
        crowd = [dial(listener.address) for _ in range(100)]
        await hall.wait_for(16)
        await until(lambda: hall.gate.refusals[Refusal.HALF_OPEN_SOURCE] == 84)
        assert len(hall.streams) == 16
        for link in range(1, 17):
            hall.gate.handle_event(LinkDown(link, None, None, "gone"))
        with dial(listener.address):
            await hall.wait_for(17)
        for one in crowd:
            one.close()
        await listener.close()

    with_hall(check)


class CountingSocket:
    """Stands for a listening socket and counts how often it is asked for a stream."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        return self._real.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_streams_that_come_too_fast_wait_in_the_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[CountingSocket] = []
    original = tcp_place._listening_socket

    def counting(address: SocketAddress) -> CountingSocket:
        asked.append(CountingSocket(original(address)))
        return asked[0]

    monkeypatch.setattr(tcp_place, "_listening_socket", counting)

    async def check(hall: Hall) -> None:
        listener = hall.listener()
        await listener.start()
        crowd = [dial(listener.address) for _ in range(30)]
        start = time.monotonic()
        await hall.wait_for(10)
        await asyncio.sleep(0.15)
        assert len(hall.streams) <= 10 + 50 * (time.monotonic() - start)
        assert hall.gate.waits <= 10
        await hall.wait_for(30)
        assert time.monotonic() - start >= 0.35
        assert asked[0].asked <= 30 + hall.gate.waits + 1
        assert not any(hall.gate.refusals.values())
        for one in crowd:
            one.close()
        await listener.close()

    with_hall(check, AcceptLimits(1000, 1000, 1000, total_accepts_per_second=50, total_accepts_burst=10))


def test_a_flood_is_taken_in_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    original = Listener._accept_some

    def counted(listener: Listener, sock: socket.socket) -> None:
        before = listener._gate.accepted
        original(listener, sock)
        turns.append(listener._gate.accepted - before)

    monkeypatch.setattr(Listener, "_accept_some", counted)

    async def check(hall: Hall) -> None:
        listener = hall.listener()
        await listener.start()
        crowd = [dial(listener.address) for _ in range(60)]
        await hall.wait_for(60)
        assert max(turns) <= 8
        for one in crowd:
            one.close()
        await listener.close()

    with_hall(check, AcceptLimits(1000, 1000, 1000))


class FailingSocket:
    """Stands for a listening socket whose accept answers as the kernel may."""

    def __init__(self, real: socket.socket, answers: list[int]) -> None:
        self._real = real
        self._answers = answers

    def accept(self) -> tuple[socket.socket, object]:
        if self._answers:
            code = self._answers.pop(0)
            raise OSError(code, "injected")
        return self._real.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


async def _listen_with(hall: Hall, monkeypatch: pytest.MonkeyPatch, answers: list[int]) -> Listener:
    original = tcp_place._listening_socket
    monkeypatch.setattr(
        tcp_place, "_listening_socket", lambda address: FailingSocket(original(address), answers)
    )
    listener = hall.listener()
    await listener.start()
    return listener


def test_streams_that_failed_before_they_were_taken_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(hall: Hall) -> None:
        listener = await _listen_with(hall, monkeypatch, [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
        with dial(listener.address):
            await hall.wait_for(1)
        assert hall.failures == []
        await listener.close()

    with_hall(check)


def test_without_descriptors_accepting_pauses_and_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "PAUSE", 0.02)
    answers = [errno.EMFILE] * 3

    async def check(hall: Hall) -> None:
        listener = await _listen_with(hall, monkeypatch, answers)
        with dial(listener.address):
            await hall.wait_for(1)
        assert hall.failures == [("too many open files", 0.02)] * 3
        await listener.close()

    with_hall(check)


def test_a_pause_costs_nothing_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays in the backlog was not taken."""
    monkeypatch.setattr(listener_module, "PAUSE", 0.02)

    async def check(hall: Hall) -> None:
        listener = await _listen_with(hall, monkeypatch, [errno.EMFILE])
        with dial(listener.address):
            await hall.wait_for(1)
        await listener.close()

    with_hall(check, AcceptLimits(total_accepts_per_second=0.1, total_accepts_burst=1))


def test_a_paused_listener_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(hall: Hall) -> None:
        listener = await _listen_with(hall, monkeypatch, [errno.ENFILE])
        with dial(listener.address):
            await until(lambda: hall.failures)
            await listener.close()

    with_hall(check)


def test_a_stream_that_died_in_the_backlog_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(_: socket.socket) -> None:
        raise OSError(errno.EINVAL, "gone")

    async def check(hall: Hall) -> None:
        listener = hall.listener()
        await listener.start()
        monkeypatch.setattr(tcp_place, "tune", dead)
        with dial(listener.address) as near:
            assert await asyncio.to_thread(near.recv, 1) == b""
        assert hall.streams == []
        assert hall.gate.half_open == 0
        await listener.close()

    with_hall(check)


def test_an_address_in_use_says_so() -> None:
    async def check(hall: Hall) -> None:
        first = hall.listener()
        await first.start()
        with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1:\d+: the address is in use"):
            await hall.listener(port=port_of(first.address)).start()
        await first.close()

    with_hall(check)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "no such address"),
        ("2001:db8::1", "no such address"),
        ("no.such.host.invalid", "cannot"),
    ],
)
def test_an_address_of_somebody_else_says_so(host: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_place, "RESOLVE_TIMEOUT", 0.5)

    async def check(hall: Hall) -> None:
        with pytest.raises(ListenError, match=words):
            await hall.listener(host).start()

    with_hall(check)


def test_any_address_with_a_forbidden_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tcp_place, "_bound", forbidden)

    async def check(hall: Hall) -> None:
        with pytest.raises(ListenError, match="take a port above 1023"):
            await hall.listener("::", 80).start()

    with_hall(check)
