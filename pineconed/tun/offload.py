# SPDX-License-Identifier: Apache-2.0
"""Segmentation offload: the kernel leaves cutting and checksums to the device, and takes uncut packets.

Every packet has a `virtio_net_hdr` of 10 bytes before it (Linux, include/uapi/linux/virtio_net.h), in the
byte order of the machine. From the kernel it is read; to the kernel it is built here, of constants and of
values that the session layer has checked against the packet. No byte of it comes from another node.
"""

import errno
import fcntl
import io
import os
import struct
from collections import Counter
from collections.abc import Iterable

from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.partial import CHECKSUM_OFFSETS, MARK, PARTIAL, TCP, UDP, complete_at
from pineconed.overlay.session.party import FEATURE_PARTIAL, FEATURE_TCP, FEATURE_UDP
from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.segmentation import segments
from pineconed.overlay.session.super_packet import (
    MIN_HEADER_LENGTHS,
    PROTOCOLS,
    SuperKind,
    SuperPacket,
    header_length,
)
from pineconed.overlay.session.waiting import Outgoing
from pineconed.tun.drops import TunDrop
from pineconed.tun.plain import MAX_PACKET, MAX_PACKETS

GSO_MAX_SIZE = 60000
"""Bytes of the longest super-packet that the kernel is to make: it fits a DATA, and that a frame."""

_TUNSETOFFLOAD = 0x400454D0
_CSUM, _TSO6, _TSO_ECN, _USO4, _USO6 = 0x01, 0x04, 0x08, 0x20, 0x40
_TCP_OFFLOAD = _CSUM | _TSO6 | _TSO_ECN
_UDP_OFFLOAD = _USO4 | _USO6
"""Kernels from 6.2 on take these two, and only together."""

_HEADER = struct.Struct("=BBHHHH")
"""Flags, kind, bytes of headers, bytes of a segment, where the sum begins, its field counted from there."""

_NEEDS_CSUM = 1
_GSO_NONE, _GSO_TCP6, _GSO_UDP = 0, 4, 5
_GSO_ECN = 0x80
_KINDS = {_GSO_TCP6: SuperKind.TCP, _GSO_UDP: SuperKind.UDP}
_TCP_FLAGS = IPV6_HEADER_LENGTH + 13
_TCP_CWR = 0x80

_UNUSUAL = b"\xff"
"""No header begins so."""

_WHOLE = bytes(_HEADER.size)
"""Before a packet that is complete."""

_PARTIAL_HEADERS = {
    protocol: _HEADER.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, IPV6_HEADER_LENGTH, offset)
    for protocol, offset in CHECKSUM_OFFSETS.items()
}
"""Before a partial packet, by its next header."""

_PARTIAL_STARTS = {
    protocol: [header + bytes((first & ~MARK,)) for first in range(256)]
    for protocol, header in _PARTIAL_HEADERS.items()
}
"""The same with the first byte of the packet as the kernel knows it, by that of the partial one."""

_FIRST = _HEADER.size
_NEXT_HEADER = _FIRST + 6
_JOIN_BELOW = 2048
"""Packets shorter than this are joined with their header: measured, that costs less than an iovec."""


def enable(descriptor: int) -> int:
    """Ask the kernel for all that it can leave to the device; the features that may be offered to peers.

    OSError when it leaves nothing to it.
    """
    try:
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TCP_OFFLOAD | _UDP_OFFLOAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TCP_OFFLOAD)
        return FEATURE_TCP | FEATURE_PARTIAL
    return FEATURE_TCP | FEATURE_UDP | FEATURE_PARTIAL


class OffloadChannel:
    """Packets in and out of a descriptor with such headers; otherwise as `PlainChannel`."""

    def __init__(self, descriptor: int, drops: Counter[TunDrop], features: int) -> None:
        self.features = features
        self._fd = descriptor
        self._drops = drops
        self._file = io.FileIO(descriptor, closefd=False)
        self._buffer = bytearray(_HEADER.size + MAX_PACKET)
        self._view = memoryview(self._buffer)

    def read(self, max_bytes: int) -> list[Outgoing]:
        """What waits: until it is dry, `max_bytes` are reached or 256 packets are read. Per-packet path."""
        buffer, view, read, size = self._buffer, self._view, self._file.readinto, 0
        packets: list[Outgoing] = []
        for _ in range(MAX_PACKETS):
            length = read(view)
            if not length:  # None: nothing waits
                break
            if not buffer[0] & _NEEDS_CSUM:
                packets.append(view[_FIRST:length].tobytes())
            elif buffer.startswith(_PARTIAL_HEADERS.get(buffer[_NEXT_HEADER], _UNUSUAL)):
                buffer[_FIRST] |= MARK
                packets.append(view[_FIRST:length].tobytes())
            else:
                packets += self._unusual(length)
            size += length
            if size >= max_bytes:
                break
        return packets

    def _unusual(self, length: int) -> list[Outgoing]:
        """A super-packet, or one whose checksum is not where a partial packet has it."""
        _, gso, _, size, start, offset = _HEADER.unpack_from(self._buffer)
        packet = self._view[_FIRST:length].tobytes()
        if packet[0] >> 4 != 6:
            return [packet]
        if gso == _GSO_NONE:
            return [complete_at(packet, start, start + offset)]
        kind = _KINDS.get(gso & ~_GSO_ECN)
        if kind is None or not size or len(packet) < start + MIN_HEADER_LENGTHS[kind]:
            self._drops[TunDrop.TUN_OFFLOAD_UNKNOWN] += 1
            return []
        headers = start + header_length(kind, packet, start)
        if start == IPV6_HEADER_LENGTH and packet[6] == PROTOCOLS[kind]:
            return [SuperPacket(kind, size, headers, packet)]
        return [
            complete_at(segment, start, start + offset)
            for segment in segments(packet, kind, size, start, headers)
        ]

    def write(self, packets: Iterable[Delivery]) -> None:
        """Give packets to the kernel. Per-packet path."""
        fd, write, writev = self._fd, os.write, os.writev
        for packet in packets:
            try:
                if isinstance(packet, SuperPacket):
                    writev(fd, (_super_header(packet), packet.packet))
                elif packet[0] < PARTIAL:
                    write(fd, _WHOLE + packet) if len(packet) < _JOIN_BELOW else writev(fd, (_WHOLE, packet))
                else:
                    start = _PARTIAL_STARTS[packet[6]][packet[0]]
                    if len(packet) < _JOIN_BELOW:
                        write(fd, start + packet[1:])
                    else:
                        writev(fd, (start, memoryview(packet)[1:]))
            except OSError:
                self._drops[TunDrop.TUN_REFUSED] += 1


def _super_header(packet: SuperPacket) -> bytes:
    """What the kernel is told about a super-packet that has passed `check_super_packet`."""
    gso, offset = _GSO_UDP, CHECKSUM_OFFSETS[UDP]
    if packet.kind is SuperKind.TCP:
        gso, offset = _GSO_TCP6, CHECKSUM_OFFSETS[TCP]
        if packet.packet[_TCP_FLAGS] & _TCP_CWR:
            gso |= _GSO_ECN
    return _HEADER.pack(
        _NEEDS_CSUM,
        gso,
        packet.header_length,
        packet.segment_size,
        IPV6_HEADER_LENGTH,
        offset,
    )
