# SPDX-License-Identifier: Apache-2.0
"""Two hundred nodes: they converge, and how long it takes is printed, in virtual and in wall time."""

from time import perf_counter

import pytest

from pineconed.sim.network import Network
from pineconed.sim.scenario import (
    agree_on_root,
    complete_snake,
    deliver_every_pair,
    send_all,
    some_pairs,
    undelivered,
)
from pineconed.sim.tap import TRAFFIC
from pineconed.sim.topology import build
from tests.sim.networks import (
    FADED,
    HOP,
    ROUND,
    SETUP,
    assert_no_loops,
    eccentricity,
    spreading,
    strongest,
    table_sizes,
)

SIZE = 200
WALL_LIMIT = 60.0


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "grid", "tree", "two-clusters"])
def test_two_hundred_nodes_converge(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All are started within a second and dial at once: the worst that can happen to them.

    Agreement is bounded by the distance of the farthest node from the root. For the snake the only sure bound
    is a round of bootstraps a node; this one, 20 rounds, is from measuring. Traffic arrives long before that.
    """
    began = perf_counter()
    network = Network(seed=1)
    network.build(build(name, SIZE, seed=1))
    farthest = eccentricity(network, strongest(network.hosts).number)
    agreed = agree_on_root(network, limit=SETUP + spreading(farthest))
    whole = agreed + complete_snake(network, limit=20 * ROUND)
    wall = perf_counter() - began
    network.run_for(FADED)
    deliveries = send_all(network, some_pairs(network, 400, seed=1), within=SIZE * HOP)
    with capsys.disabled():
        hops = [one.hops for one in deliveries]
        print(
            f"\n{SIZE} nodes ({name}, {len(network.links)} links): one root after {agreed:.1f} s, "
            f"snake whole after {whole:.1f} s of virtual time, {wall:.1f} s of wall time; "
            f"hops: {sum(hops) / len(hops):.1f} on average, {max(hops)} at most"
        )
    assert undelivered(deliveries) == []
    assert max(table_sizes(network.hosts)) < SIZE
    assert network.crossings.longest[TRAFFIC] < SIZE
    assert_no_loops(network)
    assert perf_counter() - began < WALL_LIMIT


@pytest.mark.slow
def test_two_hundred_nodes_deliver_while_the_snake_still_forms(capsys: pytest.CaptureFixture[str]) -> None:
    """From the first dial: when 200 random pairs have delivered a packet each, tried anew every second."""
    network = Network(seed=2)
    network.build(build("random", SIZE, seed=2))
    needed = deliver_every_pair(network, some_pairs(network, 200, seed=2), every=1.0, limit=20 * ROUND)
    with capsys.disabled():
        print(f"\n{SIZE} nodes: 200 random pairs have delivered {needed:.1f} s after the first dial")
    assert_no_loops(network)
