# SPDX-License-Identifier: Apache-2.0
"""Super-packets: many segments of one TCP or UDP flow in a single packet with one header.

The kernel hands them out where segmentation is left to the device, and takes them in again, so that a small
MTU costs little. What comes from a peer is checked until nothing is left that the kernel would have to
believe: it gets a header of its own that is built from these values.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.partial import TCP, UDP
from pineconed.overlay.session.control import Kind
from pineconed.wire.errors import CodecError

MIN_SEGMENT = 48
"""Bytes of payload in a segment; no TCP sender takes less, and a smaller one would only cost the receiver."""

MAX_UDP_SEGMENTS = 128
"""As many datagrams as the kernel puts into one."""

HEAD = struct.Struct(">BBHH")
_UDP_HEADER_LENGTH = 8
_TCP_HEADER_LENGTH = 20
_TCP_SYN_RST_URG = 0x26


class SuperKind(IntEnum):
    """What the segments are; also the bit of `features` by which a side says that it takes these."""

    TCP = 1
    UDP = 2


MIN_HEADER_LENGTHS = {SuperKind.TCP: _TCP_HEADER_LENGTH, SuperKind.UDP: _UDP_HEADER_LENGTH}
"""Bytes of the shortest header of each."""

PROTOCOLS = {SuperKind.TCP: TCP, SuperKind.UDP: UDP}
"""The next header of each."""


class SuperPacket(NamedTuple):
    """`header_length` covers IPv6 and TCP or UDP; the payload behind it is cut every `segment_size` bytes.

    The checksum field of `packet` holds only the sum of the pseudo-header: to complete it is left to whoever
    cuts. All lengths in bytes.
    """

    kind: SuperKind
    segment_size: int
    header_length: int
    packet: bytes


def header_length(kind: SuperKind, packet: bytes, start: int = IPV6_HEADER_LENGTH) -> int:
    """Bytes of the TCP or UDP header at `start`, of which the least that there can be is there."""
    if kind is SuperKind.UDP:
        return _UDP_HEADER_LENGTH
    return max(packet[start + 12] >> 4 << 2, _TCP_HEADER_LENGTH)


def encode_super_packet(packet: SuperPacket) -> bytes:
    """The plaintext of the DATA that carries it."""
    head = HEAD.pack(Kind.SUPER_PACKET, packet.kind, packet.segment_size, packet.header_length)
    return head + packet.packet


def decode_super_packet(plaintext: bytes) -> SuperPacket:
    """What `encode_super_packet` was given; CodecError unless every value fits the others."""
    if len(plaintext) < HEAD.size:
        raise CodecError("super-packet cut off")
    first, kind, segment_size, header_length = HEAD.unpack_from(plaintext)
    if first != Kind.SUPER_PACKET or kind not in PROTOCOLS:
        raise CodecError(f"super-packet of kind {kind}")
    packet = SuperPacket(SuperKind(kind), segment_size, header_length, plaintext[HEAD.size :])
    check_super_packet(packet)
    return packet


def check_super_packet(packet: SuperPacket) -> None:
    """CodecError unless `packet` is one IPv6 packet without extension headers that is cut into several."""
    data = packet.packet
    if len(data) < IPV6_HEADER_LENGTH + _UDP_HEADER_LENGTH or data[0] >> 4 != 6:
        raise CodecError("super-packet that is no IPv6")
    if len(data) - IPV6_HEADER_LENGTH != data[4] << 8 | data[5]:
        raise CodecError("super-packet of another length than its header says")
    if data[6] != PROTOCOLS[packet.kind]:
        raise CodecError(f"super-packet of protocol {data[6]}")
    expected = _udp_header_length(data) if packet.kind is SuperKind.UDP else _tcp_header_length(data)
    if packet.header_length != expected or expected > len(data):
        raise CodecError(f"super-packet with headers of {packet.header_length} bytes")
    payload = len(data) - packet.header_length
    if not MIN_SEGMENT <= packet.segment_size < payload:
        raise CodecError(f"super-packet with segments of {packet.segment_size} in {payload} bytes")
    if packet.kind is SuperKind.UDP and payload > MAX_UDP_SEGMENTS * packet.segment_size:
        raise CodecError("super-packet of too many datagrams")


def _udp_header_length(data: bytes) -> int:
    if len(data) - IPV6_HEADER_LENGTH != data[44] << 8 | data[45]:
        raise CodecError("super-packet of another length than its UDP header says")
    return IPV6_HEADER_LENGTH + header_length(SuperKind.UDP, data)


def _tcp_header_length(data: bytes) -> int:
    if len(data) < IPV6_HEADER_LENGTH + _TCP_HEADER_LENGTH or data[53] & _TCP_SYN_RST_URG:
        raise CodecError("super-packet that is no run of TCP data")
    return IPV6_HEADER_LENGTH + header_length(SuperKind.TCP, data)
