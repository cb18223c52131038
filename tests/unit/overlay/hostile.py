# SPDX-License-Identifier: Apache-2.0
"""What hostile nodes send, and wires that meddle with what others send."""

from collections.abc import Callable
from random import Random

from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.message import pad_init
from pineconed.overlay.session.party import Party
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, encode_frame
from pineconed.wire.watermark import FULL
from tests.unit.overlay.conversation import (
    LATENCY,
    Conversation,
    Deliveries,
    Side,
    decoded,
    prompt,
)

MALLORY = Ed25519Identity(b"m" * 32)


def frame_of(source_key: bytes, to: Side, payload: bytes, coords: Coords = (7,)) -> bytes:
    """A frame with any source."""
    return encode_frame(TrafficFrame(to.coords, coords, to.key, source_key, FULL, payload))


def invented(rng: Random) -> bytes:
    """An INIT that is as good as any, of somebody."""
    party = Party(MALLORY, rng.randbytes)
    return pad_init(Initiation(party, rng.getrandbits(32), 0.0).message)


class Meddler:
    """A wire that changes frames with a given first payload byte, the genuine one following if `both`."""

    def __init__(self, kind: int, change: Callable[[bytes], bytes], *, both: bool = True) -> None:
        self.kind, self.change, self.both = kind, change, both
        self.times = 0

    def __call__(self, side: Side, frame: bytes) -> Deliveries:
        if decoded(frame).payload[:1] != bytes([self.kind]):
            return prompt(side, frame)
        self.times += 1
        changed = [(LATENCY, self.change(frame))]
        return [*changed, (LATENCY, frame)] if self.both else changed


def times_of(talk: Conversation, kind: int) -> int:
    """How many messages of a type were sent by the two."""
    return sum(frame.payload[:1] == bytes([kind]) for _, _, frame in talk.traffic())
