# SPDX-License-Identifier: Apache-2.0
"""Where TCP listeners listen: a host and a port."""

import errno
import socket

import structlog

from pineconed.transport.authority import host_port
from pineconed.transport.gate import source_of
from pineconed.transport.listener import ListenError
from pineconed.transport.resolve import ResolveError, SocketAddress, printable, resolve
from pineconed.transport.tcp import RESOLVE_TIMEOUT, plain_reason, tune

BACKLOG = 512

_log = structlog.get_logger(__name__)


class TcpPlace:
    """A host and a port, looked up once, at `open`.

    The host `::` takes IPv4 as well, unless another socket has that port for IPv4 already.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def open(self) -> list[socket.socket]:
        """One socket for each address. ListenError when one of them cannot be opened."""
        where = host_port(self._host, self._port)
        opened: list[socket.socket] = []
        try:
            for address in await resolve(self._host, self._port, RESOLVE_TIMEOUT):
                opened.append(_listening_socket(address))  # noqa: PERF401  (those that are open have to close)
        except ResolveError as error:
            raise ListenError(f"cannot listen on {where}: {error}") from error
        except OSError as error:
            for sock in opened:
                sock.close()
            raise ListenError(f"cannot listen on {where}: {_remedy(error)}") from error
        return opened

    def describe(self, sockaddr: tuple[str, int]) -> str:
        """`host:port` of one end of a socket."""
        return printable(sockaddr)

    def source(self, sockaddr: tuple[str, int]) -> str:
        """The IPv4 address or IPv6 /64 at the other end."""
        return source_of(sockaddr[0])

    def tune(self, accepted: socket.socket) -> None:
        """Set the options of a peering's socket. OSError when it is gone already."""
        tune(accepted)


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


def _remedy(error: OSError) -> str:
    hints = {
        errno.EADDRINUSE: "the address is in use; stop the other program (see ss -ltnp) or take another port",
        errno.EADDRNOTAVAIL: "this machine has no such address; ip addr shows those it has",
        errno.EACCES: "not permitted; take a port above 1023, or give the daemon CAP_NET_BIND_SERVICE",
    }
    return hints.get(error.errno or 0) or plain_reason(error)
