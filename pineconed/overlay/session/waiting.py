# SPDX-License-Identifier: Apache-2.0
"""Packets that wait for a handshake to finish."""

from pineconed.overlay.session.super_packet import SuperPacket

Outgoing = bytes | SuperPacket
"""What the TUN device gives."""

MAX_PACKETS = 64
MAX_BYTES = 256 << 10
TOTAL_BYTES = 4 << 20
"""What waits for all handshakes together."""


class WaitingTotal:
    """Bytes that wait for all handshakes of this host."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = TOTAL_BYTES) -> None:
        self.limit = limit
        self.used = 0


class WaitingPackets:
    """The packets for one destination, in order. What does not fit is not taken."""

    __slots__ = ("_bytes", "_total", "packets")

    def __init__(self, total: WaitingTotal) -> None:
        self.packets: list[Outgoing] = []
        self._bytes = 0
        self._total = total

    def add(self, packet: Outgoing) -> bool:
        """Take a packet; False when there is no room."""
        size = _size(packet)
        if len(self.packets) >= MAX_PACKETS or self._bytes + size > MAX_BYTES:
            return False
        if self._total.used + size > self._total.limit:
            return False
        self.packets.append(packet)
        self._account(size)
        return True

    def first(self) -> Outgoing | None:
        """The packet that has waited longest."""
        return self.packets[0] if self.packets else None

    def drop_first(self) -> None:
        """Have no longer what `first` gave."""
        self._account(-_size(self.packets.pop(0)))

    def take(self) -> list[Outgoing]:
        """Everything that waits; nothing does afterwards."""
        packets, self.packets = self.packets, []
        self._account(-self._bytes)
        return packets

    def _account(self, size: int) -> None:
        self._bytes += size
        self._total.used += size


def _size(packet: Outgoing) -> int:
    return len(packet.packet) if isinstance(packet, SuperPacket) else len(packet)
