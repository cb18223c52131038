# SPDX-License-Identifier: Apache-2.0
"""The driver's turn, with a node that obeys the contract and real sockets in between."""

import asyncio
import errno
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop
from structlog.testing import capture_logs

from pineconed.clock import Now
from pineconed.daemon import driver as driver_module
from pineconed.daemon.driver import PULL, READ_BUDGET, Driver
from pineconed.node import Node
from pineconed.router.events import CloseLink, Event, LinkDown, LinkUp
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.stream import SocketStream, Stream
from pineconed.tun.device import TunDevice
from pineconed.wire.buffer import Buffer

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
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110  (what a test waits for has no event of its own)
                await asyncio.sleep(0.001)

    def close(self) -> None:
        self.driver.close("the test is over")
        for far in self._far:
            far.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]:
    """Run a check on a bench of its own, once per kind of loop."""

    async def on_bench(check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        bench = Bench()
        try:
            await check(bench)
        finally:
            bench.close()

    def run_check(check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(on_bench(check))

    return run_check


Run = Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]


# ---------------------------------------------------------------- in


def test_a_new_link_greets_at_once_and_carries_bytes_both_ways(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        assert await bench.read(far, 5) == b"hello"
        far.sendall(b"from the peer")
        await bench.until(lambda: bench.node.received[link] == b"from the peer")
        bench.node.on_receive = lambda number, _data: bench.node.queues[number].append(b"answer")
        far.sendall(b"!")
        assert await bench.read(far, 6) == b"answer"
        stream = bench.driver.stream_of(link)
        assert stream is not None
        assert stream.remote == "peer"

    run(check)


def test_what_the_node_leaves_comes_next_turn_before_anything_newer(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.node.frame_budget = 1000
        turns: list[bytes] = []
        bench.node.on_receive = lambda _link, data: turns.append(data)
        link, far = bench.connect()
        data = bytes(range(256)) * 200
        await asyncio.get_running_loop().sock_sendall(far, data)
        other, other_far = bench.connect()
        other_far.sendall(b"other")
        await bench.until(lambda: len(bench.node.received[link]) == len(data))
        assert bench.node.received[link] == data
        assert bench.node.received[other] == b"other"
        assert max(map(len, turns)) <= 1000
        assert turns[-1] != b"other"

    run(check)


def test_one_turn_reads_no_more_than_its_budget(run: Run) -> None:
    async def check(bench: Bench) -> None:
        sizes: list[int] = []
        bench.node.on_receive = lambda _link, data: sizes.append(len(data))
        link, far = bench.connect()
        await asyncio.get_running_loop().sock_sendall(far, bytes(4 << 20))
        await bench.until(lambda: len(bench.node.received[link]) == 4 << 20)
        assert max(sizes) <= READ_BUDGET

    run(check)


def test_the_end_of_a_stream_ends_its_link(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        far.shutdown(socket.SHUT_WR)
        await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(link, None, None, "the peer closed the connection")]
        assert bench.node.removed == [(link, "the peer closed the connection")]
        assert bench.driver.stream_of(link) is None
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""

    run(check)


def test_a_reset_ends_its_link_in_plain_english(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(link, None, None, "connection reset by the peer")]

    run(check)


class WordyStream:
    """Wraps a stream and keeps part of what it reads, as TLS does; sends fail or take little on demand."""

    kind = "wordy"
    remote = "peer"

    def __init__(self, inner: Stream) -> None:
        self._inner = inner
        self._held = b""
        self.fail_with: OSError | None = None
        self.takes: list[int] = []
        self.fileno, self.close, self.rtt = inner.fileno, inner.close, inner.rtt
        self.has_room = inner.has_room

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


def test_bytes_inside_a_stream_are_read_without_a_word_from_the_kernel(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, _, far = wordy(bench)
        far.sendall(b"all of it")
        await bench.until(lambda: bench.node.received[link] == b"all of it")

    run(check)


def test_bytes_inside_a_stream_are_read_from_the_start(run: Run) -> None:
    async def check(bench: Bench) -> None:
        near, far = socket.socketpair()
        bench._far.append(far)
        near.setblocking(False)
        far.sendall(b"early")
        stream = WordyStream(SocketStream(near, "peer"))
        stream.recv_into(memoryview(bytearray(10)))
        stream.has_room = lambda: True
        link = bench.driver.attach(stream, OPTIONS)
        await bench.until(lambda: bench.node.received[link] == b"arly")

    run(check)


# ---------------------------------------------------------------- out


def test_a_pull_is_small_and_everything_arrives_in_order(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        frames = [bytes([number % 251]) * (10 + number) for number in range(800)]
        bench.node.queues[link].extend(frames)
        far.sendall(b"wake up")
        assert await bench.read(far, sum(map(len, frames))) == b"".join(frames)
        assert max(size for _, size in bench.node.pulls) <= PULL

    run(check)


def test_a_frame_longer_than_a_pull_is_taken_alone(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        bench.node.queues[link].extend([b"a" * 65535, b"b" * 65535])
        far.sendall(b"wake up")
        assert await bench.read(far, 2 * 65535) == b"a" * 65535 + b"b" * 65535

    run(check)


def test_a_stalled_peer_costs_one_pull_and_stalls_nobody(run: Run) -> None:
    async def check(bench: Bench) -> None:
        stalled, _ = bench.connect()
        good, far = bench.connect()
        await bench.read(far, 5)
        bench.node.queues[stalled].extend([bytes(8000)] * 4000)
        for _ in range(20):
            bench.node.queues[good].append(b"x" * 1000)
            far.sendall(b"wake up")
            await bench.read(far, 1000)
        await asyncio.sleep(0.05)
        left = len(bench.node.queues[stalled])
        assert left > 0
        pulls = len(bench.node.pulls)
        far.sendall(b"wake up")
        await asyncio.sleep(0.02)
        assert len(bench.node.queues[stalled]) == left
        assert all(link == good for link, _ in bench.node.pulls[pulls:])

    run(check)


def test_a_slow_peer_gets_every_byte_once(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
        await bench.read(far, 5)
        frames = [bytes([number % 256]) * 60000 for number in range(100)]
        bench.node.queues[link].extend(frames)
        far.sendall(b"wake up")
        received = b""
        while len(received) < 6_000_000:
            received += await bench.read(far, min(50000, 6_000_000 - len(received)))
        assert received == b"".join(frames)
        await bench.until(lambda: not bench.driver._links[link].watched)

    run(check)


def test_what_a_socket_refuses_is_kept_and_sent_first(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, stream, far = wordy(bench)
        await bench.read(far, 5)
        frames = [bytes([number]) * 1000 for number in range(40)]
        bench.node.queues[link].extend(frames)
        stream.takes = [0, 1, 999, 1500, 0, 7]
        far.sendall(b"!")
        assert await bench.read(far, 40_000) == b"".join(frames)
        assert stream.takes == []

    run(check)


def test_a_socket_that_was_woken_for_nothing_is_left_alone(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        record = bench.driver._links[link]
        bench.driver._on_readable(record)
        assert bench.driver.stream_of(link) is not None
        bench.driver.detach(link, "enough")
        record.unread = memoryview(b"rest")
        for wake_up in (bench.driver._on_readable, bench.driver._on_rest, bench.driver._on_writable):
            wake_up(record)
        assert bench.node.received[link] == b""

    run(check)


def test_a_stream_that_fails_more_than_once_ends_once(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, stream, far = wordy(bench)
        stream.fail_with = BrokenPipeError(errno.EPIPE, "x")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        await bench.until(lambda: bench.events)
        await asyncio.sleep(0.01)
        assert [type(event) for event in bench.events] == [LinkDown]
        assert len(bench.node.removed) == 1
        assert bench.driver.stream_of(link) is None

    run(check)


def test_a_peer_that_vanishes_while_we_send_ends_its_link(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, stream, _ = wordy(bench)
        other, far = bench.connect()
        await bench.read(far, 5)
        stream.fail_with = BrokenPipeError(errno.EPIPE, "x")
        bench.node.queues[link].append(b"y")
        bench.node.queues[other].append(b"for you")
        far.sendall(b"wake up")
        assert await bench.read(far, 7) == b"for you"
        assert bench.events == [LinkDown(link, None, None, "the peer closed the connection")]
        assert bench.driver.stream_of(other) is not None

    run(check)


@pytest.mark.parametrize(
    ("buffers", "sent", "rest"),
    [
        ([b"abc", b"def"], 0, [b"abc", b"def"]),
        ([b"abc", b"def"], 2, [b"c", b"def"]),
        ([b"abc", b"def"], 3, [b"def"]),
        ([b"abc", b"", b"def"], 4, [b"ef"]),
        ([b"abc"], 3, []),
    ],
)
def test_what_was_not_sent(buffers: list[Buffer], sent: int, rest: list[bytes]) -> None:
    assert [bytes(buffer) for buffer in driver_module._after(buffers, sent) if len(buffer)] == rest


# ---------------------------------------------------------------- TUN


class FakeDevice:
    """A pair of sockets that keeps packets apart, as a TUN device does."""

    def __init__(self) -> None:
        self.host, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setblocking(False)
        self.host.setblocking(False)
        self.fail_with: OSError | None = None

    def fileno(self) -> int:
        return self._near.fileno()

    def read_packets(self, max_bytes: int) -> list[bytes]:
        if self.fail_with is not None:
            raise self.fail_with
        packets: list[bytes] = []
        try:
            while sum(map(len, packets)) < max_bytes:
                packets.append(self._near.recv(65536))
        except BlockingIOError:
            pass
        return packets

    def write(self, packets: list[Buffer]) -> None:
        for packet in packets:
            self._near.send(packet)

    def close(self) -> None:
        self.host.close()
        self._near.close()


def test_packets_go_through_the_device_both_ways(run: Run) -> None:
    async def check(bench: Bench) -> None:
        device = FakeDevice()
        bench.driver.attach_tun(cast("TunDevice", device))
        for number in range(5):
            device.host.send(b"out %d" % number)
        await bench.until(lambda: len(bench.node.packets) == 5)
        assert bench.node.packets[4] == b"out 4"
        link, far = bench.connect()
        bench.node.on_receive = lambda _link, data: bench.node.local.append(memoryview(data))
        far.sendall(b"in")
        await bench.until(lambda: bench.node.received[link])
        assert device.host.recv(100) == b"in"
        bench.driver.detach_tun()
        bench.driver.detach_tun()
        bench.node.local.append(b"for nobody")
        far.sendall(b"!")
        await bench.until(lambda: len(bench.node.received[link]) == 3)
        with pytest.raises(BlockingIOError):
            device.host.recv(100)
        device.close()

    run(check)


def test_a_deleted_device_is_let_go_and_told(run: Run) -> None:
    async def check(bench: Bench) -> None:
        lost: list[str] = []
        device = FakeDevice()
        bench.driver.attach_tun(cast("TunDevice", device), lost.append)
        device.fail_with = OSError(errno.EBADFD, "File descriptor in bad state")
        with capture_logs() as logs:
            device.host.send(b"x")
            await bench.until(lambda: lost)
        assert lost == ["File descriptor in bad state"]
        assert [entry["event"] for entry in logs] == [
            "the TUN device is gone: no packets to and from this host"
        ]
        device.close()

    run(check)


def test_a_fault_with_packets_of_the_host_costs_only_these(run: Run) -> None:
    async def check(bench: Bench) -> None:
        device = FakeDevice()
        bench.driver.attach_tun(cast("TunDevice", device))
        bench.node.on_outbound = divide_by_zero
        with capture_logs():
            device.host.send(b"x")
            await bench.until(lambda: bench.driver.faults)
        bench.node.on_outbound = lambda: None
        device.host.send(b"y")
        await bench.until(lambda: bench.node.packets == [b"y"])
        bench.driver.detach_tun()
        device.close()

    run(check)


def test_an_empty_drain_is_no_turn(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver._on_packets()
        device = FakeDevice()
        bench.driver.attach_tun(cast("TunDevice", device))
        bench.driver._on_packets()
        assert bench.node.packets == []
        bench.driver.detach_tun()
        device.close()

    run(check)


# ---------------------------------------------------------------- events


def test_close_link_closes_the_stream_and_everybody_hears_of_it(run: Run) -> None:
    async def check(bench: Bench) -> None:
        more: list[Event] = []
        bench.driver.subscribe(more.append)
        link, far = bench.connect()
        await bench.read(far, 5)
        bench.node.on_receive = lambda number, _data: bench.node.close_link(number, "bad magic")
        far.sendall(b"junk")
        await bench.until(lambda: bench.events)
        assert [type(event) for event in bench.events] == [CloseLink, LinkDown]
        assert more == bench.events
        assert bench.node.removed == []
        assert bench.driver.stream_of(link) is None
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""

    run(check)


def test_a_close_link_of_a_link_that_is_gone_does_no_harm(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.node.pending_events.append(CloseLink(99, "late", remote_fault=False))
        _, far = bench.connect()
        await bench.read(far, 5)
        assert bench.events == [CloseLink(99, "late", remote_fault=False)]

    run(check)


def test_no_event_of_a_link_comes_before_its_number(run: Run) -> None:
    """A dialler stores the number that `attach` returns and then waits for the events of that link."""

    async def check(bench: Bench) -> None:
        bench.node.pending_events.append(LinkUp(1, 1, bytes(32)))
        bench.connect()
        assert bench.events == []
        await bench.until(lambda: bench.events)

    run(check)


def test_a_subscriber_may_attach_and_detach(run: Run) -> None:
    async def check(bench: Bench) -> None:
        first, far = bench.connect()
        await bench.read(far, 5)
        second, second_far = bench.connect()
        await bench.read(second_far, 5)

        def react(event: Event) -> None:
            if isinstance(event, LinkDown) and event.link == first:
                bench.driver.detach(second, "no longer wanted")
                bench.driver.detach(first, "gone already")
                bench.connect()

        bench.driver.subscribe(react)
        far.close()
        await bench.until(lambda: len(bench.events) == 2)
        assert [(event.link, event.reason) for event in bench.events if isinstance(event, LinkDown)] == [
            (first, "the peer closed the connection"),
            (second, "no longer wanted"),
        ]
        assert await bench.read(bench._far[-1], 5) == b"hello"

    run(check)


def test_a_failing_subscriber_does_not_hide_events_from_the_others(run: Run) -> None:
    async def check(bench: Bench) -> None:
        def fail(event: Event) -> None:
            raise ValueError(event)

        heard: list[Event] = []
        bench.driver.subscribe(fail)
        bench.driver.subscribe(heard.append)
        link, _ = bench.connect()
        with capture_logs() as logs:
            bench.driver.detach(link, "enough")
            await bench.until(lambda: heard)
        assert len(logs) == 1

    run(check)


def test_closing_ends_every_link_and_reports_it(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver.start()
        links = [bench.connect() for _ in range(3)]
        await bench.until(lambda: not bench.node.take_ready())
        bench.driver.close("the daemon stops")
        assert bench.events == [LinkDown(link, None, None, "the daemon stops") for link, _ in links]
        bench.node.due = 0.0
        await asyncio.sleep(0.01)
        assert bench.node.timers == []

    run(check)


# ---------------------------------------------------------------- the timer


def test_the_timer_fires_at_the_deadline(run: Run) -> None:
    async def check(bench: Bench) -> None:
        goal = read_clock().seconds + 0.05

        def rest(now: Now) -> None:
            if now.seconds >= goal:
                bench.node.due = float(1 << 40)

        bench.node.due = goal
        bench.node.on_timer = rest
        bench.driver.start()
        await bench.until(lambda: bench.node.due > goal)
        assert 0 <= bench.node.timers[-1] - goal < 0.05
        assert len(bench.node.timers) <= 3
        await asyncio.sleep(0.02)
        assert len(bench.node.timers) <= 3

    run(check)


def test_an_earlier_deadline_arms_the_timer_anew(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver.start()
        _, far = bench.connect()
        await bench.read(far, 5)

        def hurry(*_: object) -> None:
            bench.node.due = read_clock().seconds + 0.01

        def rest(_: Now) -> None:
            bench.node.due = float(1 << 40)

        bench.node.on_receive, bench.node.on_timer = hurry, rest
        far.sendall(b"!")
        await bench.until(lambda: bench.node.timers)

    run(check)


def test_a_deadline_that_stays_is_tried_again_without_haste(run: Run) -> None:
    """The loop's clock may be coarser than ours, so that a timer finds nothing due yet."""

    async def check(bench: Bench) -> None:
        bench.node.due = read_clock().seconds - 5
        bench.driver.start()
        await asyncio.sleep(0.05)
        assert 2 <= len(bench.node.timers) <= 55

    run(check)


# ---------------------------------------------------------------- faults


def divide_by_zero(*_: object) -> None:
    raise ZeroDivisionError("oh")


FAULT = "internal fault: ZeroDivisionError: oh"


def test_a_fault_while_receiving_ends_that_link_only(run: Run) -> None:
    async def check(bench: Bench) -> None:
        good, good_far = bench.connect()
        bad, bad_far = bench.connect()
        bench.node.on_receive = lambda link, _data: divide_by_zero() if link == bad else None
        with capture_logs() as logs:
            bad_far.sendall(b"x")
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(bad, None, None, FAULT)]
        assert [bool(entry["exc_info"]) for entry in logs] == [True]
        good_far.sendall(b"still here")
        await bench.until(lambda: bench.node.received[good] == b"still here")

    run(check)


def test_a_fault_that_comes_again_is_counted_and_not_logged(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.node.on_receive = divide_by_zero
        with capture_logs() as logs:
            for number in range(3):
                _, far = bench.connect()
                far.sendall(b"x")
                await bench.until(lambda: bench.driver.faults > number)  # noqa: B023  (called at once)
        assert bench.driver.faults == 3
        assert len(logs) == 1

    run(check)


def test_a_fault_while_sending_ends_that_link_only(run: Run) -> None:
    async def check(bench: Bench) -> None:
        _, good_far = bench.connect()
        bad, _ = bench.connect()
        bench.node.on_take = lambda link: divide_by_zero() if link == bad else None
        with capture_logs():
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(bad, None, None, FAULT)]
        assert await bench.read(good_far, 5) == b"hello"

    run(check)


def test_a_fault_while_removing_is_still_reported_to_who_waits(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        bench.node.on_remove = divide_by_zero
        with capture_logs():
            bench.driver.detach(link, "enough")
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(link, None, None, "enough")]
        bench.node.on_remove = lambda: None

    run(check)


def test_a_fault_in_the_timer_is_tried_again_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "FAULT_PAUSE", 0.03)

    async def check(bench: Bench) -> None:
        bench.node.due = read_clock().seconds
        bench.node.on_timer = divide_by_zero
        with capture_logs() as logs:
            bench.driver.start()
            await bench.until(lambda: len(bench.node.timers) >= 3)
        assert bench.node.timers[2] - bench.node.timers[1] >= 0.025
        assert len(logs) == 1

    run(check)
