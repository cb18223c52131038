# SPDX-License-Identifier: Apache-2.0
"""Moves bytes between a WebSocket and the driver's end of a peering.

    out   read at most 32,768 bytes from the socket pair, send them as one binary message, wait until the
          socket below has taken all of it
    in    receive a message, write it to the pair

Both directions keep little, so that queues stay in the node, where they are fair: a stalled WebSocket lets
the pair fill up, which the driver sees. Whichever side ends, the other ends at once; what the driver handed
over before is still sent, for `LINGER` seconds at most.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple, TypedDict

from aiohttp import ClientWebSocketResponse, WebSocketError, WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.http_websocket import WSMessageTextBytes

from pineconed.transport.tcp import plain_reason
from pineconed.transport.websocket.stream import WebSocketStream

MAX_MESSAGE_OUT = 32_768
"""Bytes of a message: the reference's dialler takes no more (protocol section 9)."""

MAX_MESSAGE_IN = 131_072
"""Bytes of a message that we take; the reference sends a frame in each, at most 65,535."""


class _Receiving(TypedDict):
    """How aiohttp shall receive, in both roles."""

    autoclose: bool
    autoping: bool
    max_msg_size: int
    decode_text: bool


RECEIVING = _Receiving(
    autoclose=False,
    autoping=False,
    max_msg_size=MAX_MESSAGE_IN + 1,  # the first size that aiohttp refuses
    decode_text=False,
)

LINGER = 1.0
"""Seconds for the rest and for the closing handshake after either side has ended."""

MAX_UNASKED = 256 * 1024
"""Bytes that may wait below the WebSocket; of ours it is one message, the rest are answers of TLS."""

LOOK = 1.0
"""Seconds between two looks at them."""

MESSAGES_PER_TURN = 64
"""Messages taken without letting others run; aiohttp gives what it has without a wait."""

WebSocket = ClientWebSocketResponse[bool] | web.WebSocketResponse[bool]


class Carrier(NamedTuple):
    """What is below a WebSocket: `drain` waits until its transport's buffer is empty."""

    transport: asyncio.Transport
    drain: Callable[[], Awaitable[None]]
    socket: socket.socket | None


class _End(NamedTuple):
    """Why the WebSocket has ended: the code to answer with, and the fault of the other node if it was one."""

    code: int = WSCloseCode.OK
    fault: str | None = None


class Pump:
    """One WebSocket peering: `stream` is for the driver, `run` works until it ends and leaves nothing.

    OSError when the system gives no pair of sockets for it.
    """

    def __init__(self, websocket: WebSocket, carrier: Carrier, kind: str, remote: str) -> None:
        near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._websocket = websocket
        self._carrier = carrier
        self._deadline = asyncio.timeout(None)
        self._running = False
        self._closed = False
        self.stream = WebSocketStream(near, kind, remote, carrier.socket, self._hurry)
        # Not 0, at which TLS transports wait for a buffer that is empty.
        carrier.transport.set_write_buffer_limits(high=1, low=0)

    async def run(self) -> None:
        """Pump until either side has ended."""
        try:
            async with self._deadline:
                self._running = True
                if self._closed:
                    self._hurry()
                await self._take_leave(await self._until_one_ends())
        except TimeoutError:
            pass  # the peer neither takes the rest nor answers
        finally:
            self._running = False
            self._far.close()
            abort(self._carrier.transport)

    def _hurry(self) -> None:
        """The driver has closed its end, or the WebSocket has: what is left to do has little time."""
        self._closed = True
        if self._running:
            self._deadline.reschedule(asyncio.get_running_loop().time() + LINGER)

    async def _until_one_ends(self) -> _End:
        outward = asyncio.create_task(self._outward())
        inward = asyncio.create_task(self._inward())
        below = asyncio.create_task(self._below())
        tasks = (inward, below, outward)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return next(task for task in tasks if task in done).result()

    async def _take_leave(self, end: _End) -> None:
        self.stream.fault = end.fault
        self._far.close()
        self._hurry()
        await self._websocket.close(code=end.code)

    # ---------------------------------------------------------------- the two directions

    async def _outward(self) -> _End:
        websocket, drain = self._websocket, self._carrier.drain
        while data := await self._read():
            try:
                await websocket.send_bytes(data)
                await drain()
            except OSError:  # the WebSocket is gone
                return _End()
        return _End()

    async def _read(self) -> bytes:
        """What the driver wrote, at least one byte; nothing when it has closed its end."""
        try:
            return self._far.recv(MAX_MESSAGE_OUT)
        except BlockingIOError:
            pass
        except OSError:
            return b""
        try:
            return await asyncio.get_running_loop().sock_recv(self._far, MAX_MESSAGE_OUT)
        except OSError:  # it was closed with bytes of ours unread
            return b""

    async def _inward(self) -> _End:
        loop, websocket = asyncio.get_running_loop(), self._websocket
        for number in count(1):
            message = await websocket.receive()
            if message.type is WSMsgType.BINARY:
                try:
                    await loop.sock_sendall(self._far, message.data)
                except OSError:  # the driver has closed its end
                    return _End()
            elif message.type is WSMsgType.PING:
                await self._pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return _end_of(message)
            if number % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)
        raise AssertionError  # count() has no end

    async def _below(self) -> _End:
        """Ends when TLS has too much to say: the peer asks (key updates) and does not read the answers.

        Nobody else would tell: the loop only holds back what we write ourselves.
        """
        transport = self._carrier.transport
        while transport.is_closing() or transport.get_write_buffer_size() <= MAX_UNASKED:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        return _End(
            WSCloseCode.POLICY_VIOLATION, "the peer asks for more and more without reading the answers"
        )

    async def _pong(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the next message tells that it has ended
            await self._websocket.pong(data)


def abort(transport: asyncio.Transport) -> None:
    """Close at once, also if it is closed already, which TLS transports of asyncio do not like."""
    with contextlib.suppress(AttributeError):
        transport.abort()


def _end_of(message: WSMessage | WSMessageTextBytes) -> _End:
    """What the last message of a WebSocket says about its end."""
    if message.type is WSMsgType.TEXT:
        return _End(
            WSCloseCode.UNSUPPORTED_DATA, "the peer sent a text message; peerings take binary ones only"
        )
    if message.type is WSMsgType.ERROR:
        return _End(WSCloseCode.PROTOCOL_ERROR, _fault_in(message.data))
    return _End()


def _fault_in(error: object) -> str:
    if isinstance(error, WebSocketError) and error.code == WSCloseCode.MESSAGE_TOO_BIG:
        return f"the peer sent a WebSocket message of more than {MAX_MESSAGE_IN:,} bytes"
    if isinstance(error, OSError):
        return plain_reason(error)
    return f"the peer broke the WebSocket protocol: {error}"
