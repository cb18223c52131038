# SPDX-License-Identifier: Apache-2.0
"""Listeners: accept, ask the gate, hand over to whatever serves the scheme.

A listener lives as long as the daemon. A stream that failed before it was accepted is skipped; when the
process or the system runs out of descriptors or memory, accepting pauses for a second. A refused stream is
accepted and reset, so that it neither fills the backlog nor leaves anything behind. When more streams come
than the gate allows in all, they wait in the backlog, and the listener sleeps meanwhile.
"""

import asyncio
import contextlib
import errno
import random
import socket
from collections.abc import Callable
from typing import Any, Protocol

from pineconed.transport.gate import AcceptGate, Visit
from pineconed.transport.stream import RESET_ON_CLOSE
from pineconed.transport.tcp import plain_reason

ACCEPTS_PER_TURN = 8
"""Streams taken in one turn of the loop (1 ms), so that a flood of them does not hold up the peerings."""

PAUSE = 1.0
"""Seconds without accepting after the system ran out of something."""

BREATHER = 0.05
"""The least seconds without accepting when streams come too fast, lest every token wakes the listener."""

_THAT_STREAM_FAILED = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EPERM,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
    }
)
"""accept(2) reports what befell the waiting stream; the next one may be fine."""


class ListenError(OSError):
    """A listener cannot be opened; the message says why and what would help."""


Serve = Callable[[socket.socket, str, Visit], None]
"""Takes over an admitted socket, the printable address of its other end, and its visit.

It returns at once; the visit tells what it owes the gate.
"""


class Place(Protocol):
    """Where a listener listens."""

    async def open(self) -> list[socket.socket]:
        """Listening sockets that never block. ListenError when one of them cannot be opened."""
        ...

    def describe(self, sockaddr: Any) -> str:
        """One end of a socket, for people."""
        ...

    def source(self, sockaddr: Any) -> str:
        """What the gate's limits count by for a stream from there."""
        ...

    def tune(self, accepted: socket.socket) -> None:
        """Set the options of an accepted socket. OSError when it is gone already."""
        ...


class Listener:
    """Listens in one place and hands every admitted socket to `serve`.

    `out_of_order` is told, for the log, why accepting fails and how many seconds it pauses.
    """

    def __init__(
        self,
        place: Place,
        gate: AcceptGate,
        serve: Serve,
        out_of_order: Callable[[str, float], None] = lambda _reason, _seconds: None,
    ) -> None:
        self._place = place
        self._gate = gate
        self._serve = serve
        self._sockets: list[socket.socket] = []
        self._paused: dict[int, asyncio.TimerHandle] = {}
        self._out_of_order = out_of_order

    @property
    def addresses(self) -> list[str]:
        """Every address listened on, with the port that the kernel chose; empty before `start`."""
        return [self._place.describe(sock.getsockname()) for sock in self._sockets]

    @property
    def address(self) -> str:
        """The first of `addresses`."""
        return self.addresses[0]

    async def start(self) -> None:
        """Open the sockets and accept from now on. ListenError when one of them cannot be opened."""
        self._sockets = await self._place.open()
        for sock in self._sockets:
            self._resume(sock)

    async def close(self) -> None:
        """Stop accepting. Streams that were handed over live on."""
        for sock in self._sockets:
            paused = self._paused.pop(sock.fileno(), None)
            if paused is None:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            else:
                paused.cancel()
            sock.close()
        self._sockets.clear()

    def _resume(self, sock: socket.socket) -> None:
        self._paused.pop(sock.fileno(), None)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept_some, sock)

    def _accept_some(self, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if wait := self._gate.reserve():
                # By chance, so that of two listeners it is not always the same that wakes first.
                self._pause(sock, max(wait, BREATHER) * random.uniform(1, 2))
                return
            try:
                accepted, address = sock.accept()
            except BlockingIOError:
                self._gate.release()
                return
            except OSError as error:
                if error.errno in _THAT_STREAM_FAILED:
                    continue
                self._gate.release()
                self._out_of_order(plain_reason(error), PAUSE)
                self._pause(sock, PAUSE)
                return
            self._take(accepted, address)

    def _pause(self, sock: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock.fileno())
        self._paused[sock.fileno()] = loop.call_later(seconds, self._resume, sock)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        visit = self._gate.admit(self._place.source(address))
        if visit is None:
            reset(accepted)
            return
        try:
            self._place.tune(accepted)
        except OSError:  # gone already
            accepted.close()
            visit.closed()
            return
        accepted.setblocking(False)
        self._serve(accepted, self._place.describe(address), visit)


def reset(accepted: socket.socket) -> None:
    """Close a socket so that nothing of it is left behind; it may be gone already."""
    with contextlib.suppress(OSError):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    accepted.close()
