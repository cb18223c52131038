# SPDX-License-Identifier: Apache-2.0
"""Traffic over simulated links: bandwidth, fairness between flows, packets that nobody takes, dead ends."""

import pytest

from pineconed.sim.host import PULL_BYTES
from pineconed.sim.network import Network
from pineconed.sim.pipe import UNSENT_LIMIT, LinkShape
from pineconed.sim.scenario import send_all, undelivered
from pineconed.sim.tap import TRAFFIC
from pineconed.sim.topology import Topology
from tests.sim.networks import HOP, settled

MEGABIT = 1_000_000.0


def line_with(shape: LinkShape, size: int = 3) -> Network:
    """A line of hosts over links of that shape, after a while."""
    network = Network(seed=1)
    network.build(Topology("line", size, tuple((node, node + 1) for node in range(size - 1))), shape)
    network.run_for(20.0)
    return network


def test_a_ping_passes_a_bulk_transfer() -> None:
    """1 MB of one flow needs 8 s at 1 Mbit/s. A packet of another flow leaves the queue with the next pull.

    Before it there are the bytes that the socket took in, which are fewer than its limit and one pull of the
    same size, or one frame past it.
    """
    network = line_with(LinkShape(latency=0.01, bandwidth=MEGABIT))
    bulk = [network.send(0, 2, 10_000, flow=1) for _ in range(100)]
    network.run_for(1.0)
    ping = network.send(0, 2, 64, flow=2)
    network.run_for(20.0)
    print(f"a ping under bulk took {ping.seconds:.3f} s, the bulk {max(one.seconds for one in bulk):.1f} s")
    assert undelivered(bulk) == []
    assert max(one.seconds for one in bulk) >= 100 * 10_000 * 8 / MEGABIT
    assert ping.seconds <= (UNSENT_LIMIT + PULL_BYTES + 2 * 10_300) * 8 / MEGABIT + 2 * HOP


def test_protocol_frames_pass_a_bulk_transfer() -> None:
    """Half a minute of bulk through a slow link: no peering is given up, nobody loses the root."""
    network = line_with(LinkShape(latency=0.05, bandwidth=MEGABIT / 4))
    decided = sum("Changed" in type(one.event).__name__ for one in network.decisions)
    for _ in range(30):
        for _ in range(5):
            network.send(0, 2, 20_000, flow=1)
        network.run_for(1.0)
    assert sum("Changed" in type(one.event).__name__ for one in network.decisions) == decided
    assert [host.node.status(host.now()).peers for host in network.hosts] == [1, 2, 1]


def test_large_packets_arrive_whole() -> None:
    network = line_with(LinkShape(cut_probability=0.9))
    sizes = [56, 1280, 9_000, 32_768, 60_000, 65_000]
    deliveries = [network.send(0, 2, size) for size in sizes]
    network.run_for(1.0)
    assert undelivered(deliveries) == []
    assert all(one.copies == 1 for one in deliveries)


def test_packets_for_an_address_that_nobody_has_end_somewhere() -> None:
    """They are given to nobody and refused; the handshakes for them, fifteen INITs each, do not circle."""
    network = settled("random", 12, seed=2)
    deliveries = []
    for number in range(100):
        network.probe.addresses[12] = bytes([0xFD]) + number.to_bytes(1) * 15
        deliveries.append(network.send(number % 12, 12))
        network.run_for(0.5)
    network.run_for(10.0)
    assert all(one.copies == one.misdelivered == 0 for one in deliveries)
    assert all(one.refused for one in deliveries)
    assert network.crossings.longest[TRAFFIC] <= 15 * 11


@pytest.mark.parametrize("latency", [0.001, 0.3, 0.6, 1.0])
def test_networks_work_at_any_latency(latency: float) -> None:
    """From a LAN to a bad satellite link, as long as a keepalive crosses it within the silence."""
    network = line_with(LinkShape(latency=latency), size=5)
    network.run_for(40.0)
    deliveries = send_all(network, [(0, 4), (4, 0), (1, 3), (2, 0)], within=5 * latency + HOP)
    assert undelivered(deliveries) == []
