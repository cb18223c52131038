# SPDX-License-Identifier: Apache-2.0
"""Networks of every shape: agreement on the root, right coords, a whole snake, traffic between every pair."""

import pytest

from pineconed.sim.network import Network
from pineconed.sim.scenario import agree_on_root, all_pairs, complete_snake, send_all, undelivered
from pineconed.sim.tap import TRAFFIC
from pineconed.sim.topology import SHAPES, build
from tests.sim.networks import (
    FADED,
    HOP,
    ROUND,
    SETUP,
    assert_no_loops,
    eccentricity,
    settled,
    spreading,
    strongest,
)

SIZES = [2, 3, 10, 30]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHAPES)
def test_all_agree_on_the_strongest_root_and_every_pair_delivers(name: str, size: int) -> None:
    """All that may happen from the first dial to the last packet.

    Agreement: the links are set up, then the strongest root spreads over as many hops as the farthest node is
    away. The snake: with every round of bootstraps the strongest node that does not yet know the next weaker
    key gets to know it, so that is one round a node at most; none of 150 seeds took more than 7, so the limit
    here is 8. Traffic: when the paths that were replaced on the way have faded, one packet of every pair
    arrives. It crosses no link twice in the same direction and visits no node twice.
    """
    network = Network(seed=size)
    network.build(build(name, size, seed=size))
    farthest = eccentricity(network, strongest(network.hosts).number)
    agreed = agree_on_root(network, limit=SETUP + spreading(farthest))
    whole = complete_snake(network, limit=8 * ROUND)
    network.run_for(FADED)
    deliveries = send_all(network, all_pairs(network), within=size * HOP)
    print(f"{name} of {size}: agreed after {agreed:.2f} s, snake whole {whole:.2f} s later")
    assert undelivered(deliveries) == []
    assert all(one.copies == 1 and not one.misdelivered and not one.refused for one in deliveries)
    assert all(one.hops < size and one.seconds <= one.hops * HOP for one in deliveries)
    assert network.crossings.longest[TRAFFIC] < size
    assert_no_loops(network)


@pytest.mark.parametrize("name", SHAPES)
def test_coords_are_the_ports_from_the_root_down(name: str) -> None:
    """The root has none; all others have their parent's and the number of their port on it."""
    network = settled(name, 16, seed=2)
    root = strongest(network.hosts)
    by_key = {host.public_key: host for host in network.hosts}
    for host in network.hosts:
        tree = host.node.tree(host.now())
        if host is root:
            assert (tree.coords, tree.parent_key) == ((), None)
            continue
        assert tree.parent_key is not None
        parent = by_key[tree.parent_key]
        ports = [one.port for one in parent.node.peerings(parent.now()) if one.public_key == host.public_key]
        assert len(ports) == 1
        assert tree.coords == (*parent.node.tree(parent.now()).coords, *ports)


@pytest.mark.parametrize("name", ["line", "grid", "random"])
def test_networks_with_real_signatures_work_the_same(name: str) -> None:
    network = settled(name, 9, seed=3, real_signatures=True)
    assert undelivered(send_all(network, all_pairs(network), within=9 * HOP)) == []


def test_a_settled_network_decides_nothing_any_more() -> None:
    """For nine minutes: until the root announces itself anew, half an hour after its start."""
    network = settled("random", 12, seed=4)
    network.run_for(2 * ROUND)
    roots = {host.number: (host.root, host.parent) for host in network.hosts}
    decided = sum("Changed" in type(one.event).__name__ for one in network.decisions)
    network.run_for(540.0)
    assert {host.number: (host.root, host.parent) for host in network.hosts} == roots
    assert sum("Changed" in type(one.event).__name__ for one in network.decisions) == decided
    assert_no_loops(network)


def test_the_root_announces_itself_every_thirty_minutes_without_trouble() -> None:
    """The new sequence spreads at one hop per HOP and traffic goes on: parents change nothing else."""
    network = settled("grid", 9, seed=5)
    root = strongest(network.hosts)
    before = root.root
    network.run_until(lambda: root.root != before, 1800.0, "a new sequence")
    assert root.root.sequence == before.sequence + 1
    taken = agree_on_root(network, limit=eccentricity(network, root.number) * HOP)
    print(f"a new sequence is everywhere after {taken:.3f} s")
    network.run_for(2 * ROUND)
    assert undelivered(send_all(network, all_pairs(network), within=9 * HOP)) == []
