# SPDX-License-Identifier: Apache-2.0
"""Conversations over wires that lose, reorder and double frames."""

from random import Random

import pytest

from tests.unit.overlay.conversation import (
    Bad,
    Conversation,
    Side,
)


@pytest.mark.parametrize("seed", range(8))
def test_over_a_bad_wire_nothing_is_invented_and_nothing_comes_twice(seed: int) -> None:
    talk = Conversation(seed)
    talk.wire = Bad(Random(seed), loss=0.2, spread=0.3, doubled=0.2)
    sent: dict[Side, list[bytes]] = {talk.a: [], talk.b: []}
    for number in range(600):
        for side in (talk.a, talk.b):
            packet = side.packet(number)
            sent[side].append(packet)
            talk.send(side, packet)
        talk.run(0.5)
    talk.run(10.0)
    for side in (talk.a, talk.b):
        got = side.packets
        assert len(got) == len(set(got))
        assert set(got) <= set(sent[side.peer])
        assert len(got) >= 0.7 * 600
        assert side.drops.keys() <= {
            "data_replayed",
            "response_unexpected",
            "confirm_unexpected",
            "out_unreachable",
            "data_unknown",
            "hint_ignored",
            "rekey_refused",
        }


@pytest.mark.parametrize("seed", range(3))
def test_a_wire_that_only_reorders_and_doubles_loses_nothing(seed: int) -> None:
    talk = Conversation(seed)
    talk.wire = Bad(Random(seed), loss=0, spread=0.4, doubled=0.5)
    packets = [talk.a.packet(number) for number in range(400)]
    for packet in packets:
        talk.send(talk.a, packet)
        talk.run(0.75)
    talk.run(1.0)
    assert sorted(talk.b.packets) == sorted(packets)
