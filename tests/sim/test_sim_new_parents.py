# SPDX-License-Identifier: Apache-2.0
"""Both ends of a ping get another parent, and so other coords, at the same time: the ping is soon back.

A round trip is measured, from the moment of the change until an answer arrives, with a request every 50 ms.
Nobody sees a silent cut: how long it takes to notice one is not the question here.
"""

from collections.abc import Callable, Iterable
from random import Random
from statistics import median

import pytest

from pineconed.sim.link import Link
from pineconed.sim.network import Network
from pineconed.sim.probe import Delivery
from pineconed.sim.topology import Edge, Topology, build
from tests.sim.networks import ENTRY, EXACT, HOP, LATENCY, ROUND, WAIT, strongest

BACK_WITHIN = 4.0
SEEDS = range(1, 61)
EVERY = 0.05

Change = Callable[[Network], None]


def network_of(edges: Iterable[Edge], seed: int) -> Network:
    """Hosts that are joined like this, settled."""
    network = Network(seed, sessions=True)
    edges = tuple(edges)
    network.build(Topology("drawn", 1 + max(max(edge) for edge in edges), edges), EXACT)
    network.run_for(25.0)
    return network


def parent_of(network: Network, number: int) -> int | None:
    """The number of a host's parent."""
    parent = network.hosts[number].parent
    return next((host.number for host in network.hosts if host.public_key == parent), None)


def link_between(network: Network, one: int, other: int) -> Link:
    wanted = {network.hosts[one], network.hosts[other]}
    return next(link for link in network.links if set(link.hosts) == wanted)


def converse(network: Network, one: int, other: int) -> None:
    """Two seconds in which each sends to the other."""
    for _ in range(40):
        network.send(one, other, flow=1)
        network.send(other, one, flow=2)
        network.run_for(EVERY)


def ping_outage(network: Network, one: int, other: int, limit: float = 30.0) -> float:
    """Seconds from now until an answer arrives at `one`."""
    began = network.clock.now
    requests: list[Delivery] = []
    answers: dict[int, Delivery] = {}
    while network.clock.now < began + limit:
        requests.append(network.send(one, other, flow=1))
        for _ in range(10):
            network.run_for(EVERY / 10)
            for number, request in enumerate(requests):
                if request.delivered_at is not None and number not in answers:
                    answers[number] = network.send(other, one, flow=2)
        arrived = [answer.delivered_at for answer in answers.values() if answer.delivered_at is not None]
        if arrived:
            return min(arrived) - began
    raise AssertionError(f"no answer in {limit} s (seed {network.seed})")


def both_have_parents(network: Network) -> bool:
    """Whether neither 0 nor 1 is the root or the other's parent."""
    parents = parent_of(network, 0), parent_of(network, 1)
    return None not in parents and parents[0] != 1 and parents[1] != 0


# What happens to 0 and 1


def rewire(network: Network) -> None:
    """Both are moved from host 2 to host 3."""
    old = [link_between(network, number, 2) for number in (0, 1)]
    for number in (0, 1):
        network.connect(number, 3, EXACT)
    for link in old:
        link.unplug()


def lose_the_links(network: Network) -> None:
    """The links to both parents are unplugged."""
    for link in links_to_parents(network):
        link.unplug()


def reset_the_links(network: Network) -> None:
    """The connections to both parents are reset; they can be made again after a second or two."""
    for link in links_to_parents(network):
        link.reset()


def kill_the_parents(network: Network) -> None:
    """The processes of both parents end."""
    for parent in {parent_of(network, number) for number in (0, 1)}:
        assert parent is not None
        network.kill(parent)


def links_to_parents(network: Network) -> list[Link]:
    found = []
    for number in (0, 1):
        parent = parent_of(network, number)
        assert parent is not None
        found.append(link_between(network, number, parent))
    return found


def kill_the_root(network: Network) -> None:
    network.kill(strongest(network.hosts).number)


TRIANGLE = ((2, 3), (3, 4), (2, 4), (0, 2), (1, 2))
DIAMOND = ((2, 3), (0, 2), (0, 3), (1, 2), (1, 3))
FORKS = ((2, 6), (3, 6), (4, 6), (5, 6), (0, 2), (0, 3), (1, 4), (1, 5))
MESH = (*DIAMOND, (2, 4), (3, 4), (0, 4), (1, 4))

# The longest that each may take. A node that has no other way to its root waits for one WAIT. The snake is
# mended by the bootstraps that follow, at most one UPKEEP later, and peers are told of a move until then.
CASES = [
    pytest.param(TRIANGLE, rewire, 1.15, id="moved"),
    pytest.param(DIAMOND, lose_the_links, 0.65, id="same neighbours, links lost"),
    pytest.param(DIAMOND, reset_the_links, 0.65, id="same neighbours, links reset"),
    pytest.param(FORKS, lose_the_links, 2.25, id="far apart, links lost"),
    pytest.param(FORKS, reset_the_links, 2.25, id="far apart, links reset"),
    pytest.param(FORKS, kill_the_parents, 2.25, id="far apart, parents killed"),
    pytest.param(MESH, kill_the_root, 1.2, id="root killed"),
]


@pytest.mark.parametrize(("edges", "change", "limit"), CASES)
def test_ping_is_back_when_both_ends_get_another_parent(
    edges: tuple[Edge, ...], change: Change, limit: float
) -> None:
    outages = []
    for seed in SEEDS:
        network = network_of(edges, seed)
        if both_have_parents(network):
            converse(network, 0, 1)
            before = [network.hosts[number].parent for number in (0, 1)]
            change(network)
            outages.append(ping_outage(network, 0, 1))
            assert outages[-1] <= limit < BACK_WITHIN, f"{outages[-1]:.2f} s (seed {seed})"
            assert all(network.hosts[number].parent != before[number] for number in (0, 1))
    print(f"{len(outages)} networks: median {median(outages):.2f} s, worst {max(outages):.2f} s")
    assert len(outages) >= len(SEEDS) / 3


def test_a_stronger_root_beside_both_ends_costs_no_packet() -> None:
    """It joins at both ends of a line and becomes the parent of both within HOPs, without a WAIT."""
    outages = []
    for seed in range(1, 121):
        network = network_of(((0, 2), (2, 3), (3, 1)), seed)
        converse(network, 0, 1)
        newcomer = network.add_host()
        for number in (0, 1):
            network.connect(newcomer.number, number, EXACT)
        if strongest(network.hosts) is newcomer:
            outages.append(ping_outage(network, 0, 1))
            network.run_for(1.0)
            assert [parent_of(network, number) for number in (0, 1)] == [newcomer.number] * 2
            converse(network, 0, 1)
            late = network.probe.deliveries[-60:]
            assert all(one.seconds <= 3 * HOP for one in late)
    print(f"{len(outages)} networks: worst {max(outages):.2f} s")
    assert len(outages) >= 10
    assert max(outages) == pytest.approx(6 * LATENCY, abs=0.006)


def movers(network: Network, seed: int) -> tuple[int, int] | None:
    """Two hosts that can both lose the link to their parent while the network stays in one piece."""
    pairs = [(one, other) for one in range(len(network.hosts)) for other in range(one)]
    Random(seed).shuffle(pairs)
    for pair in pairs:
        parents = [parent_of(network, number) for number in pair]
        if None in parents or parents[0] == pair[1] or parents[1] == pair[0]:
            continue
        lost = [{number, parent} for number, parent in zip(pair, parents, strict=True)]
        if in_one_piece(network, lost):
            return pair
    return None


def in_one_piece(network: Network, lost: list[set[int | None]]) -> bool:
    """Whether everybody can be reached without these links."""
    numbers = {host: host.number for host in network.hosts}
    ends = [{host.number for host in network.hosts if host in link.hosts} for link in network.links]
    kept = [end for end in ends if end not in lost]
    reached = {0}
    for _ in numbers:
        reached |= {number for end in kept if end & reached for number in end}
    return len(reached) == len(numbers)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("grid", 9), ("grid", 16), ("random", 9), ("random", 16)])
def test_ping_is_nearly_always_back_in_time_in_networks_of_any_shape(name: str, size: int) -> None:
    """Where paths of the snake mislead in both directions, only the bootstraps of others mend them."""
    outages = []
    for seed in range(40):
        network = Network(seed, sessions=True)
        network.build(build(name, size, seed), EXACT)
        network.run_for(60.0)
        pair = movers(network, seed)
        if pair is not None:
            converse(network, *pair)
            links = [link_between(network, number, parent_of(network, number) or 0) for number in pair]
            for link in links:
                link.unplug()
            outages.append(ping_outage(network, *pair))
    late = sum(seconds > BACK_WITHIN for seconds in outages)
    print(f"{len(outages)} networks: median {median(outages):.2f}, worst {max(outages):.2f} s, {late} late")
    assert late <= len(outages) * 0.05
    assert median(outages) <= WAIT + HOP * size
    assert max(outages) <= ENTRY + ROUND
