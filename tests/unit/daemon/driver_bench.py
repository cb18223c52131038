# SPDX-License-Identifier: Apache-2.0
"""A driver on a bench: a node that obeys the contract, and real sockets."""

import asyncio
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

from pineconed.clock import Now
from pineconed.daemon.driver import Driver
from pineconed.dataplane.forward import SendResult
from pineconed.node import Node
from pineconed.overlay.events import EchoAnswered, OverlayEvent
from pineconed.router.events import CloseLink, Event, LinkDown
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.stream import SocketStream, Stream
from pineconed.wire.buffer import Buffer
from tests.unit.waiting import until

OPTIONS = LinkOptions(PeerType.REMOTE, "static", "tcp://peer:7", Direction.OUTBOUND, configured=True)


def read_clock() -> Now:
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME), 0)


class FakeNode:
    """Greets every link, notes what it is given, and sends, reports or fails as a test tells it to."""

    def __init__(self) -> None:
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.queues: dict[int, deque[bytes]] = {}
        self.pulls: list[tuple[int, int]] = []
        self.local: list[Buffer] = []
        self.pending_events: list[Event] = []
        self.pending_session_events: list[OverlayEvent] = []
        self.packets: list[bytes] = []
        self.removed: list[tuple[int, str]] = []
        self.due = float("inf")
        self.timers: list[float] = []
        self.frame_budget = 1 << 30
        self.on_receive: Callable[[int, bytes], None] = lambda _link, _data: None
        self.on_timer: Callable[[Now], None] = lambda _now: None
        self.on_remove: Callable[[], None] = lambda: None
        self.on_take: Callable[[int], None] = lambda _link: None
        self.on_outbound: Callable[[], None] = lambda: None
        self._last = 0

    def start(self, now: Now) -> None:
        self.due = min(self.due, now.seconds + 1000)

    def add_link(self, options: LinkOptions, now: Now) -> int:
        self._last += 1
        self.queues[self._last] = deque([b"hello"])
        return self._last

    def receive(self, number: int, view: memoryview, now: Now) -> int:
        if number not in self.queues:
            return len(view)
        taken = bytes(view[: self.frame_budget])
        self.received[number] += taken
        self.on_receive(number, taken)
        return len(taken)

    def remove_link(self, number: int, reason: str, now: Now) -> None:
        self.on_remove()
        self.removed.append((number, reason))
        if self.queues.pop(number, None) is not None:
            self.pending_events.append(LinkDown(number, None, None, reason))

    def close_link(self, number: int, reason: str) -> None:
        """What the real node does with a bad peer."""
        del self.queues[number]
        self.pending_events.append(CloseLink(number, reason, remote_fault=True))
        self.pending_events.append(LinkDown(number, None, None, reason))

    def outbound(self, packets: list[bytes], now: Now) -> None:
        self.on_outbound()
        self.packets += packets

    def handle_timer(self, now: Now) -> None:
        self.timers.append(now.seconds)
        self.on_timer(now)

    def take_ready(self) -> list[int]:
        return [number for number, queue in self.queues.items() if queue]

    def take(self, number: int, budget: int, now: Now) -> list[bytes]:
        self.on_take(number)
        queue = self.queues.get(number, deque())
        taken: list[bytes] = []
        size = 0
        while queue and (not taken or size + len(queue[0]) <= budget):
            taken.append(queue.popleft())
            size += len(taken[-1])
        self.pulls.append((number, size))
        return taken

    def take_local(self) -> list[Buffer]:
        local, self.local = self.local, []
        return local

    def events(self) -> list[Event]:
        events, self.pending_events = self.pending_events, []
        return events

    def ping(self, prefix: bytes, data: bytes, now: Now) -> SendResult | None:
        """Goes out by every link, and answers itself."""
        for queue in self.queues.values():
            queue.append(data)
        self.pending_session_events.append(EchoAnswered(prefix + bytes(17), data, 0.25))
        return SendResult.QUEUED

    def close_sessions(self, now: Now) -> None:
        """There are none."""

    def session_events(self) -> list[OverlayEvent]:
        events, self.pending_session_events = self.pending_session_events, []
        return events

    def deadline(self) -> float:
        return self.due


class Bench:
    """A driver with a fake node on a running loop, and the far ends of its streams."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.driver = Driver(cast("Node", self.node), read_clock, asyncio.get_running_loop())
        self.events: list[Event] = []
        self.driver.subscribe(self.events.append)
        self._far: list[socket.socket] = []

    def pair(self) -> tuple[SocketStream, socket.socket]:
        """A stream that nobody has yet, and its far end."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        far.setblocking(False)
        self._far.append(far)
        return SocketStream(near, "peer"), far

    def connect(self) -> tuple[int, socket.socket]:
        """A new link and the far end of its stream."""
        stream, far = self.pair()
        return self.driver.attach(stream, OPTIONS), far

    async def read(self, far: socket.socket, size: int) -> bytes:
        loop, data = asyncio.get_running_loop(), b""
        async with asyncio.timeout(5):
            while len(data) < size:
                data += await loop.sock_recv(far, size - len(data))
        return data

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    def close(self) -> None:
        self.driver.close("the test is over")
        for far in self._far:
            far.close()


Run = Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]


class WordyStream:
    """Wraps a stream and keeps part of what it reads, as TLS does; sends fail or take little on demand."""

    kind = "wordy"
    proven_key = None
    remote = "peer"

    def __init__(self, inner: Stream) -> None:
        self._inner = inner
        self._held = b""
        self.fail_with: OSError | None = None
        self.takes: list[int] = []
        self.fileno, self.close, self.rtt = inner.fileno, inner.close, inner.rtt
        self.has_room, self.local = inner.has_room, inner.local

    @property
    def pending(self) -> bool:
        return bool(self._held)

    def recv_into(self, buffer: memoryview) -> int:
        if not self._held:
            size = self._inner.recv_into(buffer)
            self._held = bytes(buffer[:size])
        buffer[:1] = self._held[:1]
        self._held, size = self._held[1:], len(self._held[:1])
        return size

    def send(self, buffers: Any) -> int:
        if self.fail_with is not None:
            raise self.fail_with
        if not self.takes:
            return self._inner.send(buffers)
        taken = self.takes.pop(0)
        if not taken:
            raise BlockingIOError
        return self._inner.send([b"".join(buffers)[:taken]])


def wordy(bench: Bench) -> tuple[int, WordyStream, socket.socket]:
    inner, far = bench.pair()
    stream = WordyStream(inner)
    return bench.driver.attach(stream, OPTIONS), stream, far


def divide_by_zero(*_: object) -> None:
    raise ZeroDivisionError("oh")


FAULT = "internal fault: ZeroDivisionError: oh"
