# SPDX-License-Identifier: Apache-2.0
"""Cutting a super-packet into packets, for peers that do not take it whole."""

from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.partial import CHECKSUM_OFFSETS, MARK
from pineconed.overlay.session.super_packet import PROTOCOLS, SuperKind, SuperPacket

_FIN_PSH = 0x09
"""TCP flags that only the last segment keeps."""
_CWR = 0x80
"""The TCP flag that only the first segment keeps."""


def cut(super_packet: SuperPacket) -> list[bytes]:
    """The packets that a super-packet stands for, in order; they are partial ones."""
    kind, size, start, packet = super_packet
    return segments(packet, kind, size, IPV6_HEADER_LENGTH, start)


def segments(packet: bytes, kind: SuperKind, size: int, transport: int, start: int) -> list[bytes]:
    """The same for a TCP or UDP header that begins at `transport`, and a payload at `start`.

    Each gets the sum of its own pseudo-header, which differs in the length only.
    """
    header = bytearray(packet[:start])
    header[0] |= MARK
    field = transport + CHECKSUM_OFFSETS[PROTOCOLS[kind]]
    seed = int.from_bytes(header[field : field + 2]) - (len(packet) - transport)
    cut_off = []
    for at in range(start, len(packet), size):
        payload = packet[at : at + size]
        length = start - transport + len(payload)
        header[4:6] = (length + transport - IPV6_HEADER_LENGTH).to_bytes(2)
        header[field : field + 2] = ((seed + length) % 0xFFFF).to_bytes(2)
        if kind is SuperKind.UDP:
            header[transport + 4 : transport + 6] = length.to_bytes(2)
        else:
            _number(header, packet, transport, at - start, last=at + size >= len(packet))
        cut_off.append(bytes(header) + payload)
    return cut_off


def _number(header: bytearray, packet: bytes, transport: int, offset: int, *, last: bool) -> None:
    """Give a TCP header the sequence number and flags of the segment that begins at `offset`."""
    sequence = int.from_bytes(packet[transport + 4 : transport + 8]) + offset
    header[transport + 4 : transport + 8] = (sequence & 0xFFFFFFFF).to_bytes(4)
    flags = packet[transport + 13]
    if offset:
        flags &= ~_CWR
    if not last:
        flags &= ~_FIN_PSH
    header[transport + 13] = flags
