# SPDX-License-Identifier: Apache-2.0
"""Traffic frames: from a peering onward or to this host, and from this host out (protocol section 6)."""

from enum import Enum
from typing import TypeAlias

from pineconed.dataplane.queues import Buffer, Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.wire.coordinates import Coords
from pineconed.wire.watermark import is_worse

LocalFrame: TypeAlias = tuple[bytes, bytes, memoryview, int]
"""Source key, source coords as encoded in the frame (length included), payload, the header's extra byte."""


class SendResult(Enum):
    """What became of a frame of our own."""

    QUEUED = "queued"
    NO_ROUTE = "no_route"
    TOO_BIG = "too_big"


def acceptable(
    next_hop: int, from_port: int, new_watermark: tuple[bytes, int], old_watermark: tuple[bytes, int]
) -> bool:
    """The general rule: a frame goes neither back nor on to a worse watermark."""
    return next_hop != from_port and not is_worse(new_watermark, old_watermark)


class Forwarder:
    """The per-packet path."""

    def __init__(
        self, table: ForwardingTable, queues: Queues, own_key: bytes, *, flow_key: bytes = b""
    ) -> None:
        """`flow_key` (up to 64 bytes) keeps strangers from choosing which flows share a queue."""
        self.local: list[LocalFrame] = []

    def forward(self, frame: memoryview, from_port: int, now: float) -> None:
        """Take a whole traffic frame that came from a peering; CodecError when it does not parse."""

    def send(  # noqa: PLR0913 - all that a frame is made of
        self,
        destination_key: bytes,
        destination_coords: Coords | None,
        payload: Buffer | tuple[Buffer, ...],
        flow: int,
        extra: int,
        now: float,
    ) -> SendResult:
        """Queue a frame of our own. The payload is not copied and must not change until it is sent."""
        raise NotImplementedError

    def take_local(self) -> list[LocalFrame]:
        """What arrived for this host; the payloads are views into what was given to `forward`."""
        local, self.local = self.local, []
        return local

    def payload_limit(self) -> int:
        """The most bytes of payload that a frame of ours without destination coords carries."""
        raise NotImplementedError
