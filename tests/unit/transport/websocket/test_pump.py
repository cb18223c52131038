# SPDX-License-Identifier: Apache-2.0
"""The pump between a WebSocket and the driver's end of a peering, in both roles of aiohttp."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from aiohttp import ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSCloseCode, WSMsgType, web

from pineconed.transport.stream import Stream
from pineconed.transport.websocket import pump as pump_module
from pineconed.transport.websocket.pump import (
    LINGER,
    MAX_MESSAGE_IN,
    MAX_MESSAGE_OUT,
    RECEIVING,
    Carrier,
    Pump,
)
from tests.unit.transport.intake import read

Peer = ClientWebSocketResponse[bool]

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Rig:
    """A pump in an aiohttp server; `peer` is a WebSocket client that does as the test says."""

    def __init__(self) -> None:
        self.pump: Pump
        self.peer: Peer
        self.task: asyncio.Task[None]
        self.ran = asyncio.get_running_loop().create_future()
        self._started = asyncio.Event()

    @property
    def stream(self) -> Stream:
        return self.pump.stream

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        websocket = web.WebSocketResponse(timeout=LINGER, compress=False, **RECEIVING)
        writer = await websocket.prepare(request)
        transport = request.transport
        assert transport is not None
        self.pump = Pump(websocket, Carrier(transport, writer.drain, None), "ws", "the peer")
        self.task = asyncio.ensure_future(self.pump.run())
        self._started.set()
        try:
            await asyncio.wait({self.task})
        finally:
            self.ran.set_result(time.monotonic())
        return websocket

    async def until_started(self) -> None:
        await asyncio.wait_for(self._started.wait(), 5)

    async def send(self, data: bytes) -> None:
        """Write as the driver does: when there is room, what fits."""
        view = memoryview(data)
        while view:
            with suppress(BlockingIOError):
                view = view[self.stream.send([view]) :] if self.stream.has_room() else view
            await asyncio.sleep(0)

    async def end(self) -> str:
        """What the driver learns at the end of the stream."""
        try:
            async with asyncio.timeout(5):
                assert await read(self.stream, 1) == b""
        except ConnectionError as error:
            return str(error)
        return ""


Check = Callable[[Rig], Awaitable[None]]


def with_rig(check: Check, loop: Callable[[], Any] = uvloop.new_event_loop) -> None:
    async def live() -> None:
        rig = Rig()
        server = web.Server(rig.serve, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with ClientSession() as session:
            rig.peer = await session.ws_connect(
                f"http://127.0.0.1:{port}/",
                max_msg_size=0,
                autoclose=False,
                timeout=ClientWSTimeout(ws_close=1),
            )
            await rig.until_started()
            await check(rig)
            rig.stream.close()
            await rig.peer.close()
            await asyncio.wait_for(rig.ran, 5)
        listener.close()
        await server.shutdown(1)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert others == []

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(live())


@LOOPS
@pytest.mark.parametrize("size", [1, 104, 32_768, 32_769, 65_535, 1_000_000])
def test_bytes_come_through_both_ways(size: int, loop: Callable[[], Any]) -> None:
    data = secrets.token_bytes(size)

    async def check(rig: Rig) -> None:
        sending = asyncio.create_task(rig.send(data))
        got = b""
        while len(got) < size:
            message = await rig.peer.receive_bytes()
            assert 0 < len(message) <= MAX_MESSAGE_OUT
            got += message
        await sending
        assert got == data
        reading = asyncio.create_task(read(rig.stream, size))
        for start in range(0, size, MAX_MESSAGE_IN):
            await rig.peer.send_bytes(data[start : start + MAX_MESSAGE_IN])
        assert await reading == data

    with_rig(check, loop)


def test_an_empty_message_and_pings_do_nothing() -> None:
    async def check(rig: Rig) -> None:
        await rig.peer.send_bytes(b"")
        await rig.peer.ping(b"are you there")
        await rig.peer.pong(b"")
        await rig.peer.send_bytes(b"x")
        assert await read(rig.stream, 1) == b"x"
        await rig.send(b"y")
        assert await rig.peer.receive_bytes() == b"y"

    with_rig(check)


async def in_pieces(peer: Peer, count: int) -> None:
    """One message in so many frames of 1,000 bytes, of which the last does not come."""
    transport = peer._response.connection.transport  # type: ignore[union-attr]
    assert transport is not None
    for number in range(count):
        transport.write(bytes([0 if number else 2, 0x80 | 126]) + (1000).to_bytes(2) + bytes(4 + 1000))


@pytest.mark.parametrize(
    ("act", "code", "words"),
    [
        (lambda peer: peer.send_str("hello"), WSCloseCode.UNSUPPORTED_DATA, "sent a text message"),
        (
            lambda peer: peer.send_bytes(bytes(MAX_MESSAGE_IN + 1)),
            WSCloseCode.MESSAGE_TOO_BIG,
            "a WebSocket message of more than 131,072 bytes",
        ),
        (lambda peer: in_pieces(peer, 200), WSCloseCode.MESSAGE_TOO_BIG, "a WebSocket message of more than"),
        (lambda peer: peer.send_frame(b"?", 5), WSCloseCode.PROTOCOL_ERROR, "broke the WebSocket protocol"),
    ],
    ids=["text", "giant", "giant in pieces", "garbage"],
)
def test_a_fault_of_the_peer_ends_it_and_is_told(
    act: Callable[[Peer], Awaitable[None]], code: int, words: str
) -> None:
    async def check(rig: Rig) -> None:
        await act(rig.peer)
        assert words in await rig.end()
        message = await rig.peer.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, code)

    with_rig(check)


@LOOPS
def test_what_the_driver_sent_before_it_closed_arrives(loop: Callable[[], Any]) -> None:
    async def check(rig: Rig) -> None:
        await rig.send(b"good")
        await rig.send(b"bye")
        rig.stream.close()
        got = b""
        while (message := await rig.peer.receive()).type is WSMsgType.BINARY:
            got += message.data
        assert got == b"goodbye"
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.OK)
        await rig.peer.close()

    with_rig(check, loop)


@LOOPS
def test_the_end_of_the_peer_is_the_end_of_the_stream(loop: Callable[[], Any]) -> None:
    async def check(rig: Rig) -> None:
        await rig.peer.send_bytes(b"bye")
        await rig.peer.close()
        assert await read(rig.stream, 3) == b"bye"
        assert await rig.end() == ""

    with_rig(check, loop)


@LOOPS
def test_a_peer_that_vanishes_without_a_word(loop: Callable[[], Any]) -> None:
    async def check(rig: Rig) -> None:
        started = time.monotonic()
        rig.peer._response.close()
        await rig.end()
        assert time.monotonic() - started < 0.5

    with_rig(check, loop)


@LOOPS
def test_a_peer_that_does_not_read_is_seen_as_stalled_and_left_in_time(loop: Callable[[], Any]) -> None:
    async def check(rig: Rig) -> None:
        stall(rig.peer)
        sent, moved = 0, time.monotonic()
        while time.monotonic() < moved + 0.3:
            if rig.stream.has_room():
                sent, moved = sent + rig.stream.send([bytes(16_384)]), time.monotonic()
            await asyncio.sleep(0)
        closed = time.monotonic()
        rig.stream.close()
        assert (await asyncio.wait_for(rig.ran, 3)) - closed < LINGER + 0.5
        print(f"{sent} bytes were on their way")

    with_rig(check, loop)


def stall(peer: Peer) -> None:
    transport = peer._response.connection.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.pause_reading()


@LOOPS
def test_a_peer_that_does_not_read_what_it_asks_for_is_cut_off(
    loop: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By key updates of TLS, which Python cannot send: so their answers come from the test."""
    monkeypatch.setattr(pump_module, "LOOK", 0.05)

    async def check(rig: Rig) -> None:
        stall(rig.peer)
        started = time.monotonic()
        while time.monotonic() < started + 0.2:
            rig.pump._carrier.transport.write(bytes(256 * 1024))
            await asyncio.sleep(0.01)
        assert "without reading the answers" in await rig.end()
        assert await asyncio.wait_for(rig.ran, 3) - started < LINGER + 1

    with_rig(check, loop)


def test_messages_without_content_do_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "MESSAGES_PER_TURN", 16)

    async def check(rig: Rig) -> None:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count_turns())
        transport = rig.peer._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(b"\x82\x80\0\0\0\0" * 2000 + b"\x82\x81\0\0\0\0!")
        assert await read(rig.stream, 1) == b"!"
        assert turns >= 2000 // 16
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)

    with_rig(check)


@LOOPS
def test_a_pump_that_is_cancelled_leaves_nothing(loop: Callable[[], Any]) -> None:
    async def check(rig: Rig) -> None:
        await rig.send(b"never sent?")
        rig.task.cancel()
        started = time.monotonic()
        await asyncio.gather(rig.task, return_exceptions=True)
        assert await rig.end() == ""
        assert time.monotonic() - started < 0.2

    with_rig(check, loop)
