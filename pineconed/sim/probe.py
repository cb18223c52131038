# SPDX-License-Identifier: Apache-2.0
"""Test traffic: IPv6 packets from node to node through their overlay endpoints, and what became of each."""

from collections.abc import Callable
from dataclasses import dataclass
from struct import pack, unpack_from

from pineconed.sim.tap import TRAFFIC, Crossings

_IPV6_HEADER = 40
_UDP_HEADER = 8
_ICMPV6_HEADER = 8
_UDP = 17
_ICMPV6 = 58
_DISCARD_PORT = 9


@dataclass(slots=True)
class Delivery:
    """One packet and its fate; times are virtual seconds.

    `copies` counts arrivals at the right host, `misdelivered` at any other; `refused` is set by an ICMPv6
    error for it.
    """

    source: int
    destination: int
    packet: bytes
    sent_at: float
    delivered_at: float | None = None
    links: tuple[int, ...] = ()
    copies: int = 0
    misdelivered: int = 0
    refused: bool = False

    @property
    def hops(self) -> int:
        """How many links the packet crossed until it was delivered."""
        return len(self.links)

    @property
    def seconds(self) -> float:
        """How long the packet took; ValueError when it was not delivered."""
        if self.delivered_at is None:
            raise ValueError(f"the packet from {self.source} to {self.destination} was not delivered")
        return self.delivered_at - self.sent_at


class Probe:
    """Sends numbered packets and recognises them when they come out.

    `send_packet(host, packet)` hands an IPv6 packet to the endpoint of a host; `addresses` holds every host's
    overlay address by its number.
    """

    def __init__(self, crossings: Crossings, send_packet: Callable[[int, bytes], None]) -> None:
        self.addresses: dict[int, bytes] = {}
        self.deliveries: list[Delivery] = []
        self._crossings = crossings
        self._send_packet = send_packet

    def send(
        self, now: float, source: int, destination: int, size: int = 64, *, flow: int | None = None
    ) -> Delivery:
        """Send one UDP packet of `size` bytes (at least 56) and return the record of its fate.

        Packets with the same `flow` (0 to 999) have the same ports; without one each has its own.
        """
        serial = len(self.deliveries)
        port = 1024 + serial % 60000 if flow is None else flow
        packet = _ipv6_header(self.addresses[source], self.addresses[destination], size) + _udp(
            port, serial, size
        )
        delivery = Delivery(source, destination, packet, now)
        self.deliveries.append(delivery)
        self._send_packet(source, packet)
        return delivery

    def arrived(self, now: float, host: int, packet: bytes) -> None:
        """A host's endpoint gives out a packet: one of ours, or an ICMPv6 error for one."""
        if packet[6] == _ICMPV6:
            self._delivery(packet, _IPV6_HEADER + _ICMPV6_HEADER).refused = True
            return
        delivery = self._delivery(packet, 0)
        if host != delivery.destination or packet != delivery.packet:
            delivery.misdelivered += 1
            return
        delivery.copies += 1
        if delivery.delivered_at is None:
            delivery.delivered_at = now
            delivery.links = tuple(self._crossings.path(TRAFFIC, packet))

    def _delivery(self, packet: bytes, offset: int) -> Delivery:
        serial: int = unpack_from(">Q", packet, offset + _IPV6_HEADER + _UDP_HEADER)[0]
        return self.deliveries[serial]


def _ipv6_header(source: bytes, destination: bytes, size: int) -> bytes:
    return pack(">IHBB16s16s", 6 << 28, size - _IPV6_HEADER, _UDP, 64, source, destination)


def _udp(port: int, serial: int, size: int) -> bytes:
    length = size - _IPV6_HEADER
    return pack(">HHHHQ", port, _DISCARD_PORT, length, 0, serial).ljust(length, b"\0")
