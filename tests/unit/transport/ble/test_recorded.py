# SPDX-License-Identifier: Apache-2.0
"""Somebody who shows the recorded handshake of another node, and can do no more in its name."""

import pytest

from pineconed.transport.ble.policy import SURPLUS, Closing
from pineconed.transport.ble.sightings import Fate
from tests.unit.transport.ble.test_policy import HERE, HIGH, LOW, THERE, World


@pytest.fixture
def world() -> World:
    return World()


def test_a_recorded_handshake_does_not_keep_the_node_out_that_calls(world: World) -> None:
    recorded = world.call(THERE)
    assert world.policy.link_up(recorded, LOW) == []
    genuine = world.call(HERE)
    assert world.policy.link_up(genuine, LOW) == []
    assert world.policy.link_announced(genuine) == [Closing(recorded, SURPLUS)]
    assert world.policy.link_announced(recorded) == []
    assert world.policy.links() == [genuine]
    assert world.policy.counters["peerings_surplus"] == 1


@pytest.mark.parametrize("dialled", [True, False], ids=["dialled", "called"])
def test_a_recorded_handshake_does_not_keep_us_from_dialling_the_node(world: World, dialled: bool) -> None:
    recorded = world.dial(HIGH, THERE) if dialled else world.call(THERE)
    world.policy.link_up(recorded, HIGH)
    assert world.see(THERE) is None  # one link is enough for that device
    genuine = world.dial(HIGH, HERE)
    assert world.policy.link_up(genuine, HIGH) == []
    assert world.policy.link_announced(genuine) == [Closing(recorded, SURPLUS)]
    assert world.fate() == (Fate.PEERED, "")
