# SPDX-License-Identifier: Apache-2.0
"""One socket for each segment: sends beacons there, and hears those that come by that interface only.

Linux hands a multicast datagram to every socket on the port, whichever interface it came by. So the socket is
bound to the group, which keeps unicast datagrams away, and to the interface: for IPv6 the group's scope does
both, for IPv4 SO_BINDTODEVICE is needed, which asks for no privilege since Linux 5.7. The reference binds
the same port, and SO_REUSEPORT lets both have it.

In a flood of datagrams the kernel drops them for a while, so that a turn of the loop stays short.
"""

import contextlib
import ctypes
import socket
import struct
from ipaddress import ip_address
from typing import Any, cast

import asyncio_dgram
from asyncio_dgram.aio import DatagramServer

from pineconed.discovery.beacon import GROUP_PORT, GROUPS
from pineconed.discovery.interfaces import IpAddress
from pineconed.discovery.segments import Segment

_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_DROP_ALL = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0), 8)
"""A packet filter of one instruction: return 0, that is, keep no byte."""

_DROP_PROGRAM = struct.pack("@HP", 1, ctypes.addressof(_DROP_ALL))


class BeaconSocket:
    """The socket of a segment. `open` makes one."""

    def __init__(self, segment: Segment, bound: socket.socket, stream: DatagramServer) -> None:
        self._socket = bound
        self._stream = stream
        group = str(GROUPS[segment.version])
        self._group = (group, GROUP_PORT) if segment.version == 4 else (group, GROUP_PORT, 0, segment.index)

    @classmethod
    async def open(cls, segment: Segment) -> "BeaconSocket":
        """A socket that is ready. OSError when the system refuses one."""
        bound = _bound_socket(segment)
        stream = await asyncio_dgram.from_socket(bound)
        return cls(segment, bound, cast("DatagramServer", stream))

    async def send(self, datagram: bytes) -> None:
        """Send to the group. OSError, perhaps of an earlier datagram."""
        await self._stream.send(datagram, self._group)

    async def receive(self) -> tuple[bytes, IpAddress]:
        """The next datagram and the address of its sender.

        OSError may tell of a datagram that was sent; TransportClosed that the socket is gone.
        """
        datagram, sockaddr = await self._stream.recv()
        host: str = cast("tuple[Any, ...]", sockaddr)[0]
        return datagram, ip_address(host.partition("%")[0])

    def deafen(self, deaf: bool) -> None:
        """Have the kernel drop whatever comes from now on, or have it stop that."""
        with contextlib.suppress(OSError):  # then the flood has to be read
            if deaf:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_PROGRAM)
            else:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def close(self) -> None:
        """Close the socket; `receive` ends with TransportClosed."""
        self._stream.close()


def _bound_socket(segment: Segment) -> socket.socket:
    sock = socket.socket(socket.AF_INET if segment.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, segment.interface.encode())
        if segment.version == 4:
            _join_ipv4(sock, segment)
        else:
            _join_ipv6(sock, segment)
    except OSError:
        sock.close()
        raise
    return sock


def _join_ipv4(sock: socket.socket, segment: Segment) -> None:
    group = str(GROUPS[4])
    member = struct.pack("=4s4si", GROUPS[4].packed, segment.address.packed, segment.index)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.bind((group, GROUP_PORT))


def _join_ipv6(sock: socket.socket, segment: Segment) -> None:
    member = GROUPS[6].packed + struct.pack("@I", segment.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, segment.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
    sock.bind((str(GROUPS[6]), GROUP_PORT, 0, segment.index))
