# SPDX-License-Identifier: Apache-2.0
"""Whole packets in and out of a TUN descriptor, as every kernel knows them: one packet, one system call."""

import os
from collections import Counter
from collections.abc import Iterable

from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.waiting import Outgoing
from pineconed.tun.drops import TunDrop

MAX_PACKET = 65536
"""More than any packet that the kernel can hand out (MTU 65535)."""

MAX_PACKETS = 256
"""Packets in one drain, so that a flood of small ones does not hold up the peerings."""


class PlainChannel:
    """Neither super-packets nor partial packets. `drops` counts what the kernel refused."""

    features = 0

    def __init__(self, descriptor: int, drops: Counter[TunDrop]) -> None:
        self._fd = descriptor
        self._drops = drops

    def read(self, max_bytes: int) -> list[Outgoing]:
        """What waits: until it is dry, `max_bytes` are reached or 256 packets are read. Per-packet path."""
        fd, read, size = self._fd, os.read, 0
        packets: list[Outgoing] = []
        try:
            while size < max_bytes and len(packets) < MAX_PACKETS:
                packet = read(fd, MAX_PACKET)
                packets.append(packet)
                size += len(packet)
        except BlockingIOError:
            pass
        return packets

    def write(self, packets: Iterable[Delivery]) -> None:
        """Give packets to the kernel. Per-packet path."""
        fd, write = self._fd, os.write
        for packet in packets:
            try:
                write(fd, packet)  # type: ignore[arg-type]  # super-packets come only where they are offered
            except OSError:
                self._drops[TunDrop.TUN_REFUSED] += 1
