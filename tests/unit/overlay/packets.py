# SPDX-License-Identifier: Apache-2.0
"""IPv6 packets for the tests of the endpoint."""

import struct

from pineconed.overlay.address import address_of

OWN_KEY = bytes(range(1, 33))
PEER_KEY = bytes(range(101, 133))
OWN = address_of(OWN_KEY)
PEER = address_of(PEER_KEY)
OUTSIDE = bytes.fromhex("20010db8000000000000000000000001")
MULTICAST = bytes.fromhex("ff020000000000000000000000000016")

HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, ICMPV6, OPTIONS = 0, 6, 17, 43, 44, 58, 60


def ipv6(source: bytes, destination: bytes, payload: bytes = b"", next_header: int = UDP) -> bytes:
    """One packet as the kernel hands it to a TUN device."""
    return struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64) + source + destination + payload


def ports(source: int, destination: int, payload: bytes = b"") -> bytes:
    """The beginning that TCP and UDP share, and what follows."""
    return struct.pack(">HH", source, destination) + payload


def partial(packet: bytes) -> bytes:
    """A TCP or UDP packet as it is when its checksum is left to others."""
    field = {TCP: 56, UDP: 46}[packet[6]]
    pseudo = packet[8:40] + struct.pack(">II", len(packet) - 40, packet[6])
    total: int = sum(struct.unpack(">20H", pseudo)) % 0xFFFF
    return bytes([packet[0] | 0x10]) + packet[1:field] + total.to_bytes(2) + packet[field + 2 :]
