# SPDX-License-Identifier: Apache-2.0
"""Echoes inside sessions: sends one, waits for what becomes of it, and tells what it failed at."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from pineconed.admin import requests, schema
from pineconed.admin.errors import AdminError
from pineconed.admin.identifier import PREFIX_LENGTH, Identifier
from pineconed.admin.sources import DriverSource, NodeSource
from pineconed.clock import Now
from pineconed.dataplane.forward import SendResult
from pineconed.overlay.events import DialFailed, EchoAnswered, OverlayEvent, SessionUp

MAX_PINGS = 64
"""Echoes that may be waited for at the same time."""

DATA_LENGTH = 16
"""Random bytes in an echo, by which its answer is known."""

RETRY = 1.0
"""Seconds between two looks whether there is a session now; an attempt that failed holds the next one off."""

_NO_ROUTE = "This node knows no way there. {why}"
_NOBODY = (
    "No session came about: nobody with this address answered the handshake. The node is off or out of "
    "reach, or knows no sessions (a reference node)."
)
_LISTED = (
    "No session came about: the node is listed under overlay.bare_ipv6 and seems to know none (a reference "
    "node). ping(8) asks it in the clear."
)
_OTHER_KEY = "The node with this address has another key, {key}."
_SILENT = "There is a session, but no answer came: the node is gone, or the way to it is broken."


class _Ping:
    """One echo that is waited for. `sent` says that it left, `news` wakes who waits for a session."""

    __slots__ = ("answer", "data", "dial_failed", "dialled", "news", "prefix", "sent")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.data = os.urandom(DATA_LENGTH)
        self.answer: asyncio.Future[EchoAnswered] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.sent = self.dialled = self.dial_failed = False


class Pinger:
    """Sends echoes by the driver and hears of their answers from it."""

    def __init__(self, node: NodeSource, driver: DriverSource, clock: Callable[[], Now]) -> None:
        self._node = node
        self._driver = driver
        self._clock = clock
        self._running: dict[bytes, _Ping] = {}
        driver.subscribe_sessions(self.handle_event)

    def handle_event(self, event: OverlayEvent) -> None:
        """Something happened to a session: it may be what somebody waits for."""
        match event:
            case EchoAnswered(_, data, _):
                ping = self._running.get(data)
                if ping is not None and not ping.answer.done():
                    ping.answer.set_result(event)
            case SessionUp(public_key):
                self._stir(public_key[:PREFIX_LENGTH])
            case DialFailed(address):
                self._stir(address[1:], dial_failed=True)

    def _stir(self, prefix: bytes, *, dial_failed: bool = False) -> None:
        for ping in self._running.values():
            if ping.prefix == prefix:
                ping.dial_failed |= dial_failed
                ping.news.set()

    async def ping(self, request: requests.SendPing, target: Identifier) -> schema.Ping:
        """Send one echo and wait for the answer; AdminError if there is nothing to send it to."""
        if target.prefix == self._node.status(self._clock()).public_key[:PREFIX_LENGTH]:
            raise AdminError("bad_request", f"{request.to} is this node itself", "name another node")
        if len(self._running) >= MAX_PINGS:
            raise AdminError("limit", f"{MAX_PINGS} echoes are under way", "try again in a moment")
        ping = _Ping(target.prefix)
        self._running[ping.data] = ping
        try:
            async with asyncio.timeout(request.timeout_seconds):
                return await self._exchange(ping, request, target)
        except TimeoutError:
            if ping.sent:
                return _failure(ping, request, target, "peer", _SILENT)
            return self._no_session(ping, request, target)
        finally:
            del self._running[ping.data]

    async def _exchange(self, ping: _Ping, request: requests.SendPing, target: Identifier) -> schema.Ping:
        """As soon as there is a session, the echo and its answer."""
        while (result := self._driver.ping(ping.prefix, ping.data)) is None:
            ping.dialled = True
            await _wait(ping.news, RETRY)
            if ping.dial_failed:
                return self._no_session(ping, request, target)
        if result is not SendResult.QUEUED:
            return self._no_route(ping, request, target)
        ping.sent = True
        return _answered(ping, request, target, await ping.answer)

    def _no_route(self, ping: _Ping, request: requests.SendPing, target: Identifier) -> schema.Ping:
        route = self._node.route(target.key, self._clock())
        why = route.explanation if route.method == "none" else "No peer leads towards the node."
        return _failure(ping, request, target, "route", _NO_ROUTE.format(why=why))

    def _no_session(self, ping: _Ping, request: requests.SendPing, target: Identifier) -> schema.Ping:
        peer = self._node.session(target.key, self._clock())
        text = _LISTED if peer is not None and peer.in_clear else _NOBODY
        return _failure(ping, request, target, "session", text)


async def _wait(news: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()
    news.clear()


def _answered(
    ping: _Ping, request: requests.SendPing, target: Identifier, answer: EchoAnswered
) -> schema.Ping:
    if target.exact and answer.public_key != target.key:
        text = _OTHER_KEY.format(key=answer.public_key.hex())
        return _failure(ping, request, target, "session", text)
    return schema.Ping(
        to=request.to,
        address=target.address,
        public_key=answer.public_key.hex(),
        answered=True,
        rtt_seconds=max(answer.seconds, 0.0),
        dialled=ping.dialled,
        failed=None,
        explanation="The node answered inside the session.",
    )


def _failure(
    ping: _Ping, request: requests.SendPing, target: Identifier, failed: schema.PingFailure, explanation: str
) -> schema.Ping:
    return schema.Ping(
        to=request.to,
        address=target.address,
        public_key=None,
        answered=False,
        rtt_seconds=None,
        dialled=ping.dialled,
        failed=failed,
        explanation=explanation,
    )
