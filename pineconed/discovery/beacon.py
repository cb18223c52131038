# SPDX-License-Identifier: Apache-2.0
"""The beacon: who sends it, and on which TCP port it takes peerings (protocol section 8)."""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

BEACON_LENGTH = 34
GROUP_PORT = 60606
GROUPS: dict[int, IPv4Address | IPv6Address] = {4: IPv4Address("224.0.0.114"), 6: IPv6Address("ff02::114")}
"""The multicast group of each IP version."""

INTERVAL = 2.0
"""Seconds between two beacons."""

_FIELDS = struct.Struct(">32sH")


class Beacon(NamedTuple):
    """A node and its TCP port."""

    public_key: bytes
    port: int


def encode_beacon(beacon: Beacon) -> bytes:
    """The 34 bytes of a beacon."""
    return _FIELDS.pack(*beacon)


def decode_beacon(datagram: bytes) -> Beacon | None:
    """The beacon at the beginning of a datagram, None if that is too short for one."""
    return Beacon(*_FIELDS.unpack_from(datagram)) if len(datagram) >= BEACON_LENGTH else None
