# SPDX-License-Identifier: Apache-2.0
"""The node's record of one byte stream."""

from collections import Counter
from dataclasses import dataclass, field

from pineconed.peering.admission import Candidate
from pineconed.peering.peering import Peering
from pineconed.router.peer import Direction, LinkOptions


@dataclass(slots=True, eq=False)
class Link:
    """One byte stream, with its counters.

    `port` is None until the handshake is done; `greeting` is our side of that. `opened_at` and `timer_at`,
    the only timer of the link that counts, are in seconds. `busy` says that its last turn took many frames.
    """

    number: int
    options: LinkOptions
    peering: Peering
    greeting: bytes
    opened_at: float
    port: int | None = None
    announced: bool = False
    busy: bool = False
    timer_at: float = 0.0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_frames: int = 0
    drops: Counter[str] = field(default_factory=Counter)


def candidate(public_key: bytes, options: LinkOptions) -> Candidate:
    """Who is at the other end of a stream, as the rules about peers look at it."""
    dialled = options.direction is Direction.OUTBOUND
    return Candidate(
        public_key,
        options.proven_key,
        options.allowed_keys,
        options.configured,
        dialled,
        options.key_prefix,
    )
