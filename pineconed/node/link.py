# SPDX-License-Identifier: Apache-2.0
"""The node's record of one byte stream."""

from collections import Counter

from pineconed.peering.peering import Peering
from pineconed.router.peer import LinkOptions


class Link:
    """One byte stream, with its counters. `port` is None until the handshake is done."""

    __slots__ = (
        "announced",
        "drops",
        "greeting",
        "number",
        "opened_at",
        "options",
        "peering",
        "port",
        "rx_bytes",
        "rx_frames",
        "timer_at",
        "tx_bytes",
    )

    def __init__(
        self, number: int, options: LinkOptions, peering: Peering, greeting: bytes, now: float
    ) -> None:
        self.number = number
        self.options = options
        self.peering = peering
        self.greeting = greeting
        self.opened_at = now
        self.port: int | None = None
        self.announced = False
        self.timer_at = 0.0
        self.rx_bytes = self.tx_bytes = self.rx_frames = 0
        self.drops: Counter[str] = Counter()
