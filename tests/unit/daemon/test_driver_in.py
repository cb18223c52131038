# SPDX-License-Identifier: Apache-2.0
"""What comes in: bytes, leftovers, ends of streams."""

import asyncio
import socket

from pineconed.daemon.driver import READ_BUDGET
from pineconed.router.events import LinkDown
from pineconed.transport.stream import SocketStream
from tests.unit.daemon.driver_bench import OPTIONS, Bench, Run, WordyStream, wordy


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
