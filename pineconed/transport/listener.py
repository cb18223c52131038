# SPDX-License-Identifier: Apache-2.0
"""TCP listeners: accept, ask the gate, hand over.

A listener lives as long as the daemon. A stream that failed before it was accepted is skipped; when the
process or the system runs out of descriptors or memory, accepting pauses for a second. A refused stream is
accepted and reset, so that it neither fills the backlog nor leaves anything behind. When more streams come
than the gate allows in all, they wait in the backlog, and the listener sleeps meanwhile.
"""

import asyncio
import errno
import random
import socket
from collections.abc import Callable

import structlog

from pineconed.transport.gate import AcceptGate
from pineconed.transport.resolve import ResolveError, SocketAddress, printable, resolve
from pineconed.transport.stream import RESET_ON_CLOSE, SocketStream
from pineconed.transport.tcp import RESOLVE_TIMEOUT, plain_reason, tune
from pineconed.transport.uri import host_port

BACKLOG = 512
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

_log = structlog.get_logger(__name__)


class ListenError(OSError):
    """A listener cannot be opened; the message says why and what would help."""


class TcpListener:
    """Listens on one host and port and hands every admitted stream to `attach`.

    `attach` takes the stream into the driver and returns the link that it became. The host `::` takes
    IPv4 as well, unless another socket has that port for IPv4 already. A name is resolved once, at
    `start`. `out_of_order` is told, for the log, why accepting fails and how many seconds it pauses.
    """

    def __init__(
        self,
        host: str,
        port: int,
        gate: AcceptGate,
        attach: Callable[[SocketStream], int],
        out_of_order: Callable[[str, float], None] = lambda _reason, _seconds: None,
    ) -> None:
        self._host = host
        self._port = port
        self._gate = gate
        self._attach = attach
        self._sockets: list[socket.socket] = []
        self._paused: dict[int, asyncio.TimerHandle] = {}
        self._out_of_order = out_of_order

    @property
    def addresses(self) -> list[str]:
        """Every `host:port` listened on, with the port that the kernel chose; empty before `start`."""
        return [printable(sock.getsockname()) for sock in self._sockets]

    @property
    def address(self) -> str:
        """The first of `addresses`."""
        return self.addresses[0]

    async def start(self) -> None:
        """Open the sockets and accept from now on. ListenError when any of them cannot be opened."""
        where = host_port(self._host, self._port)
        try:
            for address in await resolve(self._host, self._port, RESOLVE_TIMEOUT):
                self._sockets.append(_listening_socket(address))
        except ResolveError as error:
            raise ListenError(f"cannot listen on {where}: {error}") from error
        except OSError as error:
            await self.close()
            raise ListenError(f"cannot listen on {where}: {_remedy(error)}") from error
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
                self._out_of_order(plain_reason(error), PAUSE)
                self._pause(sock, PAUSE)
                return
            self._take(accepted, address)

    def _pause(self, sock: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock.fileno())
        self._paused[sock.fileno()] = loop.call_later(seconds, self._resume, sock)

    def _take(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        host = address[0]
        if not self._gate.admit(host):
            _reset(accepted)
            return
        try:
            tune(accepted)
        except OSError:  # gone already
            accepted.close()
            return
        stream = SocketStream(accepted, printable(address))
        self._gate.opened(self._attach(stream), host)


def _listening_socket(address: SocketAddress) -> socket.socket:
    if address.family != socket.AF_INET6:
        return _bound(address, v6only=None)
    if address.sockaddr[0] != "::":
        return _bound(address, v6only=True)
    try:
        return _bound(address, v6only=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    sock = _bound(address, v6only=True)
    _log.warning("listening for IPv6 only, because IPv4 has this port already", port=address.sockaddr[1])
    return sock


def _bound(address: SocketAddress, *, v6only: bool | None) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.bind(address.sockaddr)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _reset(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    finally:
        sock.close()


def _remedy(error: OSError) -> str:
    hints = {
        errno.EADDRINUSE: "the address is in use; stop the other program (see ss -ltnp) or take another port",
        errno.EADDRNOTAVAIL: "this machine has no such address; ip addr shows those it has",
        errno.EACCES: "not permitted; take a port above 1023",
    }
    return hints.get(error.errno or 0) or plain_reason(error)
