# SPDX-License-Identifier: Apache-2.0
"""Cutting a super-packet into packets, for peers that do not take it whole."""

from pineconed.overlay.checksum import checksum
from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.session.super_packet import SuperKind, SuperPacket

_FIN_PSH = 0x09
"""TCP flags that only the last segment keeps."""
_CWR = 0x80
"""The TCP flag that only the first segment keeps."""


def cut(super_packet: SuperPacket) -> list[bytes]:
    """The packets that a super-packet stands for, in order, with their checksums."""
    packet, start = super_packet.packet, super_packet.header_length
    size = super_packet.segment_size
    return [_segment(super_packet, offset) for offset in range(0, len(packet) - start, size)]


def _segment(super_packet: SuperPacket, offset: int) -> bytes:
    kind, size, start, packet = super_packet
    payload = packet[start + offset : start + offset + size]
    header = bytearray(packet[:start])
    length = start - IPV6_HEADER_LENGTH + len(payload)
    header[4:6] = length.to_bytes(2)
    if kind is SuperKind.UDP:
        header[44:46] = length.to_bytes(2)
        field = 46
    else:
        sequence = int.from_bytes(header[44:48]) + offset
        header[44:48] = (sequence & 0xFFFFFFFF).to_bytes(4)
        if offset:
            header[53] &= ~_CWR & 0xFF
        if start + offset + size < len(packet):
            header[53] &= ~_FIN_PSH & 0xFF
        field = 56
    header[field : field + 2] = b"\0\0"
    value = checksum(bytes(header[8:40]), header[6], bytes(header[40:]) + payload)
    header[field : field + 2] = value.to_bytes(2)
    return bytes(header) + payload
