# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum of what an IPv6 packet carries (RFC 8200, section 8.1)."""

import struct

_TAIL = struct.Struct(">II")


def checksum(addresses: bytes, protocol: int, body: bytes) -> int:
    """Over pseudo-header and `body`, whose checksum field is zero; `addresses` are source and destination.

    It is never 0, which UDP does not allow: 0xFFFF means the same.
    """
    data = b"".join((addresses, _TAIL.pack(len(body), protocol), body, bytes(len(body) % 2)))
    return ~(int.from_bytes(data) % 0xFFFF) & 0xFFFF  # 2^16 is 1 modulo 0xFFFF: this sums the 16-bit words
