# SPDX-License-Identifier: Apache-2.0
"""What one drain of the TUN device holds for one peer and one flow."""

from pineconed.overlay.flow import Flow
from pineconed.overlay.session.party import FEATURE_PARTIAL
from pineconed.overlay.session.session import Session
from pineconed.wire.coordinates import Coords


class Batch:
    """Packets that travel together; a new one begins when `limit` bytes are reached.

    `largest` is the longest packet that the peer takes, `partial` whether it takes partial ones; sizes are in
    bytes.
    """

    __slots__ = ("coords", "flow", "largest", "limit", "packets", "partial", "session", "size")

    def __init__(self, session: Session, coords: Coords | None, flow: Flow, limit: int, largest: int) -> None:
        self.session = session
        self.coords = coords
        self.flow = flow
        self.limit = limit
        self.largest = largest
        self.partial = bool(session.features & FEATURE_PARTIAL)
        self.packets: list[bytes] = []
        self.size = 0
