# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 errors about a packet that could not be sent (RFC 4443), and when there must not be one."""

import struct
from enum import IntEnum

from pineconed.overlay.checksum import checksum

IPV6_HEADER_LENGTH = 40
MIN_MTU = 1280
"""Every IPv6 link carries packets of this size (RFC 8200), and no ICMPv6 error is longer."""

_VERSION_6 = 0x6F
"""Turns the 7 of a packet whose checksum is partial into the 6 that its sender knows."""

_ICMPV6 = 58
_HOP_LIMIT = 255
_DESTINATION_UNREACHABLE = 1
_PACKET_TOO_BIG = 2
_FIRST_INFORMATIONAL = 128
_REDIRECT = 137
_FRAGMENT = 44
_EXTENSIONS = frozenset((0, 43, _FRAGMENT, 60))
"""Hop-by-hop options, routing, fragment, destination options: what may stand before the ICMPv6 header."""

_HEADER = struct.Struct(">IHBB16s16s")
_ERROR_HEADER = struct.Struct(">BBHI")


class Unreachable(IntEnum):
    """Why a destination cannot be reached: the code of the error."""

    NO_ROUTE = 0
    ADDRESS = 3


def unreachable(packet: bytes, source: bytes, code: Unreachable) -> bytes | None:
    """Destination Unreachable from the address `source` about `packet`; None where RFC 4443 forbids it."""
    return _error(packet, source, _DESTINATION_UNREACHABLE, code, 0)


def packet_too_big(packet: bytes, source: bytes, mtu: int) -> bytes | None:
    """Packet Too Big with the `mtu` that fits, in bytes; None where RFC 4443 forbids it."""
    return _error(packet, source, _PACKET_TOO_BIG, 0, max(mtu, MIN_MTU))


def may_be_answered(packet: bytes) -> bool:
    """Whether an error about this packet of at least 40 bytes is allowed (RFC 4443, section 2.4 e).

    Not about an ICMPv6 error or redirect, nor to a source that is no single node. A multicast destination is
    for the caller to drop silently.
    """
    source = packet[8:24]
    return source[0] != 0xFF and any(source) and not _is_icmpv6_error(packet)


def _is_icmpv6_error(packet: bytes) -> bool:
    """Whether it is an ICMPv6 error or redirect, or might be one: it is ICMPv6 and its type is not there."""
    protocol, offset = packet[6], IPV6_HEADER_LENGTH
    while protocol in _EXTENSIONS:
        if offset + 8 > len(packet):
            return False
        length = 8
        if protocol != _FRAGMENT:
            length += 8 * packet[offset + 1]
        elif packet[offset + 2] or packet[offset + 3] & 0xF8:
            return packet[offset] == _ICMPV6
        protocol, offset = packet[offset], offset + length
    if protocol != _ICMPV6:
        return False
    return offset >= len(packet) or packet[offset] < _FIRST_INFORMATIONAL or packet[offset] == _REDIRECT


def _error(packet: bytes, source: bytes, error_type: int, code: int, parameter: int) -> bytes | None:
    """The whole error packet: as much of the offending one as fits goes back to the node that sent it."""
    if not may_be_answered(packet):
        return None
    excerpt = bytes((packet[0] & _VERSION_6,)) + packet[1 : MIN_MTU - IPV6_HEADER_LENGTH - _ERROR_HEADER.size]
    length = _ERROR_HEADER.size + len(excerpt)
    destination = packet[8:24]
    body = _ERROR_HEADER.pack(error_type, code, 0, parameter) + excerpt
    sum_of_all = checksum(source + destination, _ICMPV6, body)
    return b"".join(
        (
            _HEADER.pack(6 << 28, length, _ICMPV6, _HOP_LIMIT, source, destination),
            body[:2],
            sum_of_all.to_bytes(2),
            body[4:],
        )
    )
