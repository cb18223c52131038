# SPDX-License-Identifier: Apache-2.0
"""What the driver needs of a byte stream, and the plain socket that gives it."""

import array
import contextlib
import select
import socket
import struct
from collections.abc import Sequence
from fcntl import ioctl
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Protocol

from pineconed.wire.buffer import Buffer

IOV_MAX = 1024
"""Linux takes at most this many pieces in one sendmsg."""

NOTSENT_LOWAT = 16 * 1024
"""Unsent bytes above which the kernel calls a socket not writable, so that queues stay ours and fair."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER for a socket whose peer shall get a reset instead of what is still unsent."""

_SIOCOUTQNSD = 0x894B
"""Ask a TCP socket for its unsent bytes (int)."""

_TCP_INFO_RTT = 68
"""Offset of `tcpi_rtt` (u32, microseconds) in the kernel's struct tcp_info."""


class LocalEnd(NamedTuple):
    """This host's end of a connection: the address, and for link-local IPv6 its interface's index, else 0."""

    address: IPv4Address | IPv6Address
    scope: int = 0


class Stream(Protocol):
    """A connected, reliable, ordered byte stream that never blocks.

    `kind` names the transport, `remote` the other end, for people. `proven_key` is the public key that the
    transport has proved to be at the other end, None when it proves none.
    """

    kind: str
    remote: str

    @property
    def proven_key(self) -> bytes | None:
        """See the class."""
        ...

    @property
    def pending(self) -> bool:
        """Whether bytes that were already taken from the kernel wait in here (decrypted, or of a message).

        The reader must then come back even if the descriptor stays silent.
        """
        ...

    def fileno(self) -> int:
        """The descriptor to wait on."""
        ...

    def recv_into(self, buffer: memoryview) -> int:
        """Read into the buffer; 0 at the end of the stream. BlockingIOError when there is nothing now."""
        ...

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Hand the pieces to the kernel in order; how many bytes it took. BlockingIOError when none now."""
        ...

    def has_room(self) -> bool:
        """Whether the kernel still holds so little unsent that more may be handed over."""
        ...

    def close(self) -> None:
        """Close at once; nothing may be called after this."""
        ...

    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds, None when the transport cannot tell."""
        ...

    def local(self) -> LocalEnd | None:
        """This host's end of the connection that carries the stream, None when that has no IP address."""
        ...


class SocketStream:
    """A connected TCP socket as a stream; it owns the socket."""

    kind = "tcp"
    pending = False
    proven_key = None
    __slots__ = ("_fd", "_socket", "_unsent", "fileno", "recv_into", "remote")

    def __init__(self, connected: socket.socket, remote: str) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._fd = connected.fileno()
        self._unsent = array.array("i", [0])
        self.remote = remote
        # The socket's own methods, so that the driver calls C at once.
        self.fileno = connected.fileno
        self.recv_into = connected.recv_into

    def send(self, buffers: Sequence[Buffer]) -> int:
        """One system call for all pieces, at most 1,024 of them."""
        if len(buffers) == 1:
            return self._socket.send(buffers[0])
        return self._socket.sendmsg(buffers[:IOV_MAX])

    def has_room(self) -> bool:
        """Whether less than `NOTSENT_LOWAT` is unsent; a send would not tell, because it takes more."""
        ioctl(self._fd, _SIOCOUTQNSD, self._unsent)
        return self._unsent[0] < NOTSENT_LOWAT

    def close(self) -> None:
        """Close the socket; what is on its way still arrives.

        With anything unsent in the kernel the peer has stopped reading or its line is slow: then the
        connection is reset, so that the peer learns of the end at once and nothing of it is left here.
        """
        with contextlib.suppress(OSError, ValueError):  # no TCP, or closed already
            ioctl(self._socket, _SIOCOUTQNSD, self._unsent)
            if self._unsent[0]:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._socket.close()

    def rtt(self) -> float | None:
        """The kernel's estimate (TCP_INFO), None before it has one."""
        return tcp_rtt(self._socket)

    def local(self) -> LocalEnd | None:
        """See `local_end`."""
        return local_end(self._socket)


class PolledStream:
    """What streams over sockets without TCP and IP addresses have in common; it owns the socket."""

    pending = False
    proven_key = None
    __slots__ = ("_poll", "_socket", "fileno", "remote")

    def __init__(self, connected: socket.socket, remote: str) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._poll = select.poll()
        self._poll.register(connected.fileno(), select.POLLOUT)
        self.remote = remote
        self.fileno = connected.fileno

    def recv_into(self, buffer: memoryview) -> int:
        """See `Stream`."""
        return self._socket.recv_into(buffer)

    def has_room(self) -> bool:
        """Whether so little is unsent that more may be handed over; just what the loop waits for."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the socket; what is on its way still arrives."""
        self._socket.close()

    def rtt(self) -> float | None:
        """Unknown: the kernel measures none here."""
        return None

    def local(self) -> LocalEnd | None:
        """None: it has no IP address."""
        return None


def tcp_rtt(sock: socket.socket) -> float | None:
    """The kernel's smoothed round-trip time of a TCP socket in seconds; None when there is none."""
    try:
        tcp_info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
    except OSError:
        return None
    microseconds: int = struct.unpack_from("=I", tcp_info, _TCP_INFO_RTT)[0]
    return microseconds / 1e6 or None


def local_end(connected: socket.socket) -> LocalEnd | None:
    """This host's end of a socket; None without an IP address."""
    try:
        sockaddr = connected.getsockname()
    except OSError:
        return None
    if connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    return LocalEnd(address_in(sockaddr), sockaddr[3] if connected.family == socket.AF_INET6 else 0)


def address_in(sockaddr: Any) -> IPv4Address | IPv6Address:
    """The IP address of a socket address; IPv4 on a dual-stack socket is IPv4."""
    address = ip_address(sockaddr[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
