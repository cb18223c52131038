# SPDX-License-Identifier: Apache-2.0
"""What goes out: pulls, stalls, what a socket refuses."""

import asyncio
import errno
import socket

import pytest

from pineconed.daemon import stream_link
from pineconed.daemon.stream_link import PULL
from pineconed.dataplane.forward import SendResult
from pineconed.overlay.events import EchoAnswered, OverlayEvent
from pineconed.router.events import LinkDown
from pineconed.wire.buffer import Buffer
from tests.unit.daemon.driver_bench import Bench, Run, wordy


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
    assert [bytes(buffer) for buffer in stream_link._after(buffers, sent) if len(buffer)] == rest


def test_a_ping_goes_out_by_itself_and_its_answer_is_told(run: Run) -> None:
    async def check(bench: Bench) -> None:
        told: list[OverlayEvent] = []
        bench.driver.subscribe_sessions(told.append)
        _, far = bench.connect()
        await bench.read(far, 5)
        assert bench.driver.ping(bytes(15), b"an echo") is SendResult.QUEUED
        assert told == []
        assert await bench.read(far, 7) == b"an echo"
        assert told == [EchoAnswered(bytes(32), b"an echo", 0.25)]

    run(check)
