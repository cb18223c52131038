# SPDX-License-Identifier: Apache-2.0
"""What an INIT costs that is not answered: nearly as little as a frame that means nothing."""

import time
from collections.abc import Sequence

import pytest

from pineconed.overlay.session.handshake_queue import MAX_WAITING
from tests.unit.overlay.conversation import INIT, PORT, Conversation
from tests.unit.overlay.hostile import frame_of, invented

COUNT = 2000
TURNS = 10
UNKNOWN = 0x3F


def frames(talk: Conversation, named: str, first: int) -> list[memoryview]:
    """Frames for b with INITs, none like another, or with another first byte in their place."""
    init = invented(talk.rng)
    made = []
    for _ in range(COUNT):
        source = talk.rng.randbytes(32) if "invented" in named else talk.a.key
        payload = bytes([first]) + init[1:8] + talk.rng.randbytes(32) + init[40:]
        made.append(memoryview(frame_of(source, talk.b, payload)))
    return made


def cost(talk: Conversation, flood: Sequence[memoryview]) -> float:
    """Processor time for a frame, from the peering to the drop, in microseconds; the best of some turns."""
    forwarder, endpoint, moment = talk.b.forwarder, talk.b.endpoint, talk.moment
    took = []
    for _ in range(TURNS):
        began = time.process_time()
        for frame in flood:
            forwarder.forward(frame, PORT, moment.seconds)
        for source_key, coords, payload, _, port in forwarder.take_local():
            endpoint.inbound(source_key, coords, payload, port, moment)
        took.append(time.process_time() - began)
    return min(took) / len(flood) * 1e6


@pytest.mark.parametrize("named", ["the peer's own key", "invented keys"])
def test_an_init_over_budget_costs_little_more_than_a_frame_of_no_type(named: str) -> None:
    talk = Conversation()
    talk.establish()
    unknown = cost(talk, frames(talk, named, UNKNOWN))
    dropped = cost(talk, frames(talk, named, INIT))
    print(f"from {named}: an INIT over budget {dropped:.2f} µs, a frame of no type {unknown:.2f} µs")
    assert talk.b.drops["init_over_budget"] >= (COUNT - 200 - MAX_WAITING) * TURNS
    assert dropped <= 4 * unknown
