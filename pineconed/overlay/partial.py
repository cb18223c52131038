# SPDX-License-Identifier: Apache-2.0
"""Partial packets: TCP and UDP whose checksum field holds only the sum of the pseudo-header.

A kernel that leaves segmentation to the TUN device leaves the checksums to it, too, and takes such packets
back. Between two nodes that can do this a session carries them as they are: what protects them on the way is
much stronger than a checksum. So nobody adds up 64 KB in Python. For everybody else `complete` does it.

Inside this node and inside sessions they are told by a 7 in place of the version 6. Nowhere else are they
seen.
"""

from pineconed.overlay.checksum import word_sum
from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH

PARTIAL = 0x70
"""The first byte of a partial packet is not less than this."""

MARK = 0x10
"""The bit of the first byte that makes the difference."""

TCP = 6
UDP = 17
CHECKSUM_OFFSETS = {TCP: 16, UDP: 6}
"""Where the field is, in bytes from the beginning of the TCP or UDP header."""

_TOO_LONG = 1 << 17
"""Longer than any packet."""

MIN_LENGTHS = tuple({TCP: 60, UDP: 48}.get(next_header, _TOO_LONG) for next_header in range(256))
"""Bytes of the shortest partial packet by its next header; no packet is as long where there are none."""


def complete(packet: bytes) -> bytes:
    """The ordinary packet, with its checksum, that a partial one stands for."""
    field = IPV6_HEADER_LENGTH + CHECKSUM_OFFSETS[packet[6]]
    return complete_at(packet, IPV6_HEADER_LENGTH, field)


def complete_at(packet: bytes, start: int, field: int) -> bytes:
    """The same for a checksum at `field` over all bytes from `start` on, whatever they are."""
    data = bytearray(packet)
    data[0] &= ~MARK
    data[field : field + 2] = (0xFFFF - word_sum(packet[start:])).to_bytes(2)
    return bytes(data)
