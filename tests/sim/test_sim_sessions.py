# SPDX-License-Identifier: Apache-2.0
"""End-to-end sessions across simulated networks: exact times, renewed places, restarts."""

from statistics import median

import pytest

from pineconed.overlay.events import SessionUp
from pineconed.sim.network import Network
from pineconed.sim.scenario import all_pairs, outage, send_all, undelivered
from pineconed.sim.topology import Topology
from tests.sim.networks import EXACT, LATENCY


def network_of(*edges: tuple[int, int], seed: int = 1, real: bool = False) -> Network:
    """Hosts that are joined like this, after a while."""
    network = Network(seed, real_signatures=real, sessions=True)
    size = 1 + max(max(edge) for edge in edges)
    network.build(Topology("drawn", size, edges), EXACT)
    network.run_for(20.0)
    return network


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("size", [0, 1000])
def test_the_first_packet_over_three_hops_takes_one_and_a_half_round_trips(real: bool, size: int) -> None:
    network = network_of((0, 1), (1, 2), (2, 3), real=real)
    first = network.send(0, 3, 64 + size)
    network.run_for(1.0)
    assert first.seconds == pytest.approx(3 * 3 * LATENCY, rel=1e-6)
    second = network.send(0, 3, 64 + size)
    back = network.send(3, 0, 64 + size)
    network.run_for(1.0)
    assert second.seconds == back.seconds == pytest.approx(3 * LATENCY, rel=1e-6)
    [up] = network.hosts[0].node.session_events()
    assert isinstance(up, SessionUp)


def test_64_packets_for_an_unknown_address_all_arrive() -> None:
    network = network_of((0, 1), (1, 2), (2, 3))
    deliveries = [network.send(0, 3, 1000) for _ in range(64)]
    network.run_for(1.0)
    assert undelivered(deliveries) == []
    assert {one.copies for one in deliveries} == {1}


def test_every_pair_delivers() -> None:
    network = network_of((0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 1), (4, 6))
    for _ in range(2):
        deliveries = send_all(network, all_pairs(network), within=2.0)
        assert undelivered(deliveries) == []
        assert {one.copies for one in deliveries} == {1}


@pytest.mark.parametrize("first", [0, 3])
def test_a_node_that_restarts_is_back_within_five_seconds(first: int) -> None:
    network = network_of((0, 1), (1, 2), (2, 3))
    network.send(0, 3)
    network.run_for(1.0)
    network.kill(3)
    network.run_for(1.0)
    network.restart(3)
    seconds = outage(network, first, 3 - first, limit=20.0)
    print(f"back {seconds:.1f} s after the restart, when {first} speaks first")
    assert seconds <= 5.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_node_that_ended_in_order_is_back_within_two_seconds(seed: int) -> None:
    """Host 0, which alone has something to send, knows that 3 has ended and dials it until it is back.

    However long that takes, the longest pause between two INITs is two seconds.
    """
    outages = []
    for quarters in range(40):
        network = network_of((0, 1), (1, 2), (3, 2), seed=seed)
        network.send(0, 3)
        network.run_for(1.0)
        end_in_order(network, 3)
        for _ in range(quarters * 5):
            network.send(0, 3)
            network.run_for(0.05)
        network.restart(3)
        outages.append(outage(network, 0, 3, every=0.05, limit=20.0))
    print(f"back {median(outages):.1f} s (median), {max(outages):.1f} s at most after the restart")
    assert max(outages) <= 2.1


def end_in_order(network: Network, number: int) -> None:
    """A host's process is asked to end: it tells its peers."""
    host = network.hosts[number]
    host.node.close_sessions(host.now())
    host._turn()
    network.run_for(0.1)
    network.kill(number)
