# SPDX-License-Identifier: Apache-2.0
"""What nodes remember: no more than there is, and nothing of those who left."""

import pytest

from pineconed.sim.network import Network
from pineconed.sim.scenario import all_pairs, send_all, undelivered
from tests.sim.networks import (
    FADED,
    HOP,
    LATENCY,
    ROUND,
    SILENCE,
    known_keys,
    settled,
    strongest,
    table_sizes,
)

BROADCASTS = 60.0
"""Every node broadcasts this often; one that was seen is remembered for three times that (section 7)."""


@pytest.mark.parametrize("name", ["random", "line", "grid"])
def test_no_table_is_larger_than_the_network(name: str) -> None:
    """At every moment of the first minutes at most one path a node, and one broadcast seen of all others."""
    network = settled(name, 20, seed=1)
    for _ in range(30):
        network.run_for(5.0)
        assert max(table_sizes(network.hosts)) < 20
        assert all(len(known_keys(host)) <= 20 for host in network.hosts)
        seen = [host.node.status(host.now()).counters["broadcasters_seen"] for host in network.hosts]
        assert max(seen) < 20


def leave(network: Network, numbers: list[int], *, silently: bool) -> None:
    """Let hosts leave, all at once."""
    for number in numbers:
        if silently:
            network.vanish(number)
        else:
            network.kill(number)


@pytest.mark.parametrize("silently", [False, True], ids=["closed", "silent"])
def test_nothing_is_left_of_nodes_that_left(silently: bool) -> None:
    """A third of a network leaves. Their last bootstraps are stored a few HOPs later, and FADED is the rest.

    Their peers give the peerings up, at once or after SILENCE, and hand out their ports again.
    """
    network = settled("random", 30, seed=2)
    weakest = sorted(network.hosts, key=lambda host: host.public_key)[:10]
    gone = {host.public_key for host in weakest}
    leave(network, [host.number for host in weakest], silently=silently)
    network.run_for(30 * HOP + FADED)
    for host in network.live_hosts():
        assert not known_keys(host) & gone
        assert not {one.public_key for one in host.node.peerings(host.now())} & gone
        descending = host.node.snake(host.now(), None, 0).descending
        assert descending is None or descending.public_key not in gone
    network.run_for(4 * BROADCASTS + BROADCASTS)
    for host in network.live_hosts():
        assert host.node.status(host.now()).counters["broadcasters_seen"] < 20


@pytest.mark.parametrize("silently", [False, True], ids=["closed", "silent"])
def test_the_last_one_remembers_nothing(silently: bool) -> None:
    """When the last peering is gone, tree, snake and broadcasts are reset at that very moment (section 4)."""
    network = settled("random", 12, seed=3)
    last = network.hosts[0]
    leave(network, list(range(1, 12)), silently=silently)
    network.run_for((SILENCE if silently else 0.0) + LATENCY + 1e-6)
    status = last.node.status(last.now())
    assert (status.peers, status.coords, status.parent) == (0, (), None)
    assert status.root.public_key == last.public_key
    assert (status.counters["snake_entries"], status.counters["broadcasters_seen"]) == (0, 0)
    assert last.node.tree(last.now()).peers == []
    assert last.node.peerings(last.now()) == []


def test_ports_are_used_again() -> None:
    """A node that comes and goes fifty times never holds more than one port of its peer, the lowest free."""
    network = settled("line", 2, seed=4)
    link = network.connect(1, 0, plugged=False)
    for _ in range(50):
        link.plug()
        network.run_for(0.5)
        ports = [one.port for one in network.hosts[0].node.peerings(network.hosts[0].now())]
        assert sorted(filter(None, ports)) == [1, 2]
        link.unplug()
        network.run_for(0.5)


def test_nodes_that_come_back_with_the_same_key_are_found_again() -> None:
    """Half of the nodes restart, one after the other, with paths and announcements of theirs still about.

    Sequences start at the Unix time, so what they say now is newer than what they said before.
    """
    network = settled("grid", 16, seed=5)
    root = strongest(network.hosts).number
    restarted = [*range(0, 16, 2), root]
    for number in restarted:
        network.kill(number)
        network.run_for(2.0)
        network.restart(number)
        network.run_for(2.0)
    network.run_for(FADED + 2 * ROUND)
    assert undelivered(send_all(network, all_pairs(network), within=16 * HOP)) == []
    assert max(table_sizes(network.hosts)) < 16
