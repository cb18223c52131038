# SPDX-License-Identifier: Apache-2.0
"""Outgoing TCP streams, and the options that every TCP stream of ours has.

The addresses of a name are tried one after another and never side by side: a reference node takes one
handshake at a time, and a connection that is dropped without one costs it up to 10 s (protocol section 2).
"""

import asyncio
import errno
import socket
import ssl
from ipaddress import IPv6Address
from typing import NamedTuple

from pineconed.transport.resolve import ResolveError, SocketAddress, printable, resolve
from pineconed.transport.stream import NOTSENT_LOWAT, local_end

RESOLVE_TIMEOUT = 10.0
"""Seconds that a look-up may take."""

MAX_ADDRESSES = 8
"""Addresses of a name that are tried before it is looked up anew: a false answer may hold thousands, all
of them silent, or hosts of others."""

USER_TIMEOUT_MS = 10_000
"""Sent data that nobody acknowledges for so long ends the connection, also after we closed it."""

BY_OVERLAY = "a peering over the overlay would have to carry its own packets"

CLOSED_BY_PEER = "the peer closed the connection"
RESET_BY_PEER = "connection reset by the peer"

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT),
)


class ConnectError(OSError):
    """The peer could not be connected; the message says why, of each address that was tried."""


def tune(sock: socket.socket) -> None:
    """Set the options of a peering's socket: no Nagle delay, dead peers noticed, a short kernel queue."""
    for level, option, value in _OPTIONS:
        sock.setsockopt(level, option, value)


class Reached(NamedTuple):
    """A connected socket and the printable address of its other end."""

    socket: socket.socket
    remote: str


async def reach(
    host: str,
    port: int,
    timeout: float,
    interface: str | None = None,
    overlay_address: IPv6Address | None = None,
) -> Reached:
    """Connect to the first address of the host that answers, each within `timeout` seconds, 8 at most.

    With `interface` packets leave by that network interface only. An address that is reached from
    `overlay_address`, our own, does not count. ConnectError when no address answers; it
    is also raised for a name that cannot be resolved.
    """
    try:
        addresses = await resolve(host, port, RESOLVE_TIMEOUT)
    except ResolveError as error:
        raise ConnectError(str(error)) from error
    failures = []
    for address in addresses[:MAX_ADDRESSES]:
        try:
            return await _reach_one(address, timeout, interface, overlay_address)
        except OSError as error:
            failures.append(f"{printable(address.sockaddr)}: {plain_reason(error)}")
    raise ConnectError("; ".join(failures))


async def _reach_one(
    address: SocketAddress, timeout: float, interface: str | None, overlay_address: IPv6Address | None
) -> Reached:
    loop = asyncio.get_running_loop()
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tune(sock)
        if interface is not None:
            _bind_to(sock, interface)
        async with asyncio.timeout(timeout):
            await loop.sock_connect(sock, address.sockaddr)
        if is_from(sock, overlay_address):
            raise OSError(BY_OVERLAY)
    except BaseException:
        sock.close()
        raise
    return Reached(sock, printable(address.sockaddr))


def is_from(connected: socket.socket, address: IPv6Address | None) -> bool:
    """Whether this host's end of a socket has this address."""
    local = local_end(connected)
    return local is not None and local.address == address


def _bind_to(sock: socket.socket, interface: str) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise OSError(f"there is no network interface {interface}") from error
        raise


_PLAIN = {
    errno.ECONNREFUSED: "nobody listens there (connection refused)",
    errno.ECONNRESET: RESET_BY_PEER,
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: CLOSED_BY_PEER,
    errno.ETIMEDOUT: "no answer (connection timed out)",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "network unreachable",
    errno.ENETDOWN: "network down",
    errno.EACCES: "not permitted (a firewall rule?)",
    errno.EPERM: "not permitted (a firewall rule?)",
    errno.EADDRNOTAVAIL: "no local address of that kind",
    errno.EMFILE: "too many open files",
}


def plain_reason(error: OSError) -> str:
    """Why a socket, or TLS on it, failed, in plain English for a log line and for `last_error`."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return _PLAIN[errno.ETIMEDOUT]
    if isinstance(error, ssl.SSLError):  # whose errno is a number of OpenSSL
        return (error.reason or "unknown").lower().replace("_", " ")
    return _PLAIN.get(error.errno or 0) or error.strerror or str(error)
