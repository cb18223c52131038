# SPDX-License-Identifier: Apache-2.0
"""End-to-end sessions across simulated networks: exact times, renewed places, restarts."""

from statistics import median

import pytest

from pineconed.overlay.events import SessionUp
from pineconed.sim.host import Host
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


@pytest.mark.parametrize("size", [64, 1280])
@pytest.mark.parametrize("flow", [1, None], ids=["one flow", "flows of their own"])
def test_64_packets_for_an_unknown_address_all_arrive(size: int, flow: int | None) -> None:
    """The first one with CONFIRM; the others one round trip after it, with the answer to that."""
    network = network_of((0, 1), (1, 2), (2, 3))
    deliveries = [network.send(0, 3, size, flow=flow) for _ in range(64)]
    network.run_for(5.0)
    assert undelivered(deliveries) == []
    assert {one.copies for one in deliveries} == {1}
    moments = [one.seconds for one in deliveries]
    assert moments == sorted(moments)
    assert moments[0] == pytest.approx(9 * LATENCY, rel=1e-6)
    assert moments[1:] == [pytest.approx(15 * LATENCY, rel=1e-6)] * 63
    drops = network.hosts[0].node.status(network.hosts[0].now()).drops
    assert not any(drops[cause] for cause in ("out_waiting_full", "out_unreachable"))


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


# An address that nobody owns

INITS_OF_AN_ATTEMPT = 15
ANSWERS_TO_AN_ATTEMPT = 9
"""Four to the first INITs, half a second apart, then one a second."""


def nobody_below(network: Network, number: int) -> bytes:
    """Have host 99 be an address to which this host is the nearest: its prefix."""
    prefix = (int.from_bytes(network.hosts[number].public_key[:15]) - 1).to_bytes(15)
    network.probe.addresses[99] = b"\xfd" + prefix
    return prefix


def claim(host: Host, prefix: bytes, as_key: bytes | None) -> None:
    """Make a host take frames for keys that begin so and answer, by its own key or in another's name."""
    forwarder = host.node._forwarder
    forwarder._own_prefix = prefix + bytes(17)
    forwarder._own_key = as_key or forwarder._own_key


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("honest", None),
        ("answers by its own key", "response_foreign_key"),
        ("answers in the name of who was dialled", "response_refused"),
    ],
)
def test_packets_for_an_address_that_nobody_owns_come_back(name: str, cause: str | None) -> None:
    network = network_of((0, 1), (1, 2), (2, 3), real=True)
    prefix = nobody_below(network, 3)
    nearest, source = network.hosts[3], network.hosts[0]
    if cause is not None:
        claim(nearest, prefix, prefix + b"?" * 17 if cause == "response_refused" else None)
    before = nearest.node.status(nearest.now()).drops["no_route"]
    packets = [network.send(0, 99) for _ in range(5)]
    network.run_for(7.49)
    assert not any(packet.refused for packet in packets)
    network.run_for(0.02)
    assert all(packet.refused for packet in packets)
    network.run_for(10.0)
    assert [(packet.copies, packet.misdelivered) for packet in packets] == [(0, 0)] * 5
    drops = source.node.status(source.now()).drops
    after = nearest.node.status(nearest.now()).drops["no_route"]
    if cause is None:
        assert after - before == INITS_OF_AN_ATTEMPT
    else:
        assert drops[cause] == ANSWERS_TO_AN_ATTEMPT
        assert after == before
    for host in network.hosts:
        assert host.node.sessions(host.now(), None, 10).total == 0
