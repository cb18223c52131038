# SPDX-License-Identifier: Apache-2.0
"""Networks that change all the time: two that merge, links that flap, a node that moves from peer to peer."""

from itertools import pairwise
from random import Random
from statistics import median

import pytest

from pineconed.sim.link import Link
from pineconed.sim.network import Network
from pineconed.sim.probe import Delivery
from pineconed.sim.scenario import (
    agree_on_root,
    all_pairs,
    complete_snake,
    deliver_every_pair,
    flap,
    outage,
    roam,
    send_all,
    undelivered,
)
from pineconed.sim.tap import TRAFFIC
from pineconed.sim.topology import build
from tests.sim.networks import (
    ENTRY,
    FADED,
    HOP,
    LATENCY,
    ROUND,
    SETUP,
    UPKEEP,
    WAIT,
    assert_no_loops,
    eccentricity,
    settled,
    spreading,
    strongest,
    table_sizes,
)

MOVES_EVERY = 20.0


def two_networks(size: int, seed: int) -> tuple[Network, Link]:
    """Two settled networks of half the size each, and the bridge between them, not yet plugged."""
    network = Network(seed)
    network.build(build("two-clusters", size, seed))
    bridge = network.links[-1]
    bridge.unplug()
    for half in (network.hosts[: size // 2], network.hosts[size // 2 :]):
        agree_on_root(network, half, limit=WAIT + SETUP + spreading(size))
        complete_snake(network, half, limit=size * ROUND)
    network.run_for(FADED)
    return network, bridge


def interleavings(network: Network) -> int:
    """How many keys have the next stronger key on the other side, between the first and the second half."""
    half = len(network.hosts) // 2
    sides = [host.number < half for host in sorted(network.hosts, key=lambda host: host.public_key)]
    return sum(one != other for one, other in pairwise(sides))


@pytest.mark.parametrize("size", [4, 10, 30])
def test_two_networks_merge(size: int) -> None:
    """The stronger root spreads from the bridge without a wait: nobody says anything else meanwhile.

    The two snakes join from the strongest key downward. A node learns in a round of bootstraps of the key
    between it and the one that it thought was next; before the keys above are in order it may learn of
    another first. So one round for each pair of neighbours that were not neighbours before, at most.
    """
    for seed in range(3):
        network, bridge = two_networks(size, seed)
        bridge.plug()
        agreed = agree_on_root(network, limit=SETUP + size * HOP)
        rounds = interleavings(network)
        whole = complete_snake(network, limit=UPKEEP + rounds * ROUND)
        delivered = deliver_every_pair(network, all_pairs(network), limit=FADED + ROUND)
        print(
            f"two networks, {size} nodes, {rounds} new neighbours: one root after {agreed:.3f} s, "
            f"snake whole {whole:.1f} s later, every pair {delivered:.1f} s after that"
        )
        network.run_for(FADED)
        assert undelivered(send_all(network, all_pairs(network), within=size * HOP)) == []
        assert_no_loops(network)


def traffic_during(network: Network, seconds: float, seed: int) -> list[Delivery]:
    """Fifty packets a second between random pairs for a while, with half a second for the last ones."""
    rng, pairs, ends = Random(seed), all_pairs(network), network.clock.now + seconds
    sent: list[Delivery] = []
    while network.clock.now < ends:
        sent += [network.send(*rng.choice(pairs)) for _ in range(5)]
        network.run_for(0.1)
    network.run_for(0.5)
    return sent


@pytest.mark.parametrize(("down", "up"), [(0.5, 2.0), (2.0, 3.0), (6.0, 6.0)])
@pytest.mark.parametrize(("name", "size"), [("ring", 6), ("random", 12), ("grid", 16)])
def test_a_flapping_link_harms_little_and_only_while_it_flaps(
    name: str, size: int, down: float, up: float
) -> None:
    """The link in use between two hosts is unplugged and plugged eight times under traffic between all.

    Whatever happens, no packet loops, comes twice or comes to somebody else; most arrive. Afterwards the tree
    is mended within a WAIT or two, and paths that misled have faded after one more round of bootstraps.
    """
    network = settled(name, size, seed=1)
    link = network.links[send_all(network, [(0, size // 2)], within=1.0)[0].links[0] // 2]
    flap(network, link, down=down, up=up, times=8)
    sent = traffic_during(network, 8 * (down + up), seed=1)
    arrived = sum(one.delivered_at is not None for one in sent) / len(sent)
    recovered = deliver_every_pair(network, all_pairs(network), limit=2 * WAIT + FADED + ROUND)
    print(f"{name} of {size}, {down} s down, {up} s up: {arrived:.0%} arrive, recovered in {recovered:.1f} s")
    assert arrived > 0.75
    assert all(one.copies <= 1 and not one.misdelivered for one in sent)
    assert all(one.hops <= 2 * size for one in sent)
    assert max(table_sizes(network.hosts)) <= size
    assert_no_loops(network)


def test_a_link_that_stalls_for_less_than_the_silence_loses_nothing() -> None:
    """TCP holds what it carries: packets are late but arrive, once each, and nobody changes the parent.

    The other end was heard from within KEEPALIVE before the cut, which lasts 1.2 s; TCP repeats what was lost
    after 0.2, 0.6 and 1.4 s: in all less than SILENCE.
    """
    network = settled("line", 4, seed=1)
    decided = sum("Changed" in type(one.event).__name__ for one in network.decisions)
    sent: list[Delivery] = []
    for _ in range(5):
        network.links[1].cut()
        sent += traffic_during(network, 0.7, seed=2)
        network.links[1].mend()
        network.run_for(4.0)
    assert undelivered(sent) == []
    assert all(one.copies == 1 for one in sent)
    assert sum("Changed" in type(one.event).__name__ for one in network.decisions) == decided


def moves(name: str, size: int, seed: int, *, silent: bool) -> list[float]:
    """The time after every move of a roaming host until a packet reaches it and one of its own arrives."""
    network = settled(name, size, seed)
    roamer = network.add_host().number
    stations = [network.connect(roamer, number, plugged=False) for number in range(0, size, 2)]
    roam(network, stations, every=MOVES_EVERY, silent=silent)
    began, back = network.clock.now, list[float]()
    for number in range(len(stations)):
        friend = (2 * number + 3) % size
        there = outage(network, friend, roamer, limit=MOVES_EVERY)
        there += outage(network, roamer, friend, limit=MOVES_EVERY)
        back.append(there)
        network.clock.run_until(began + (number + 1) * MOVES_EVERY)
    assert max(table_sizes(network.hosts)) <= size + 1
    assert_no_loops(network)
    return back


@pytest.mark.parametrize("silent", [False, True], ids=["noticed", "silent"])
@pytest.mark.parametrize(("name", "size"), [("ring", 8), ("grid", 9), ("random", 16)])
def test_a_node_that_moves_every_twenty_seconds_is_always_found_again(
    name: str, size: int, silent: bool
) -> None:
    """The new link is set up, the root followed after a WAIT at most, a bootstrap leaves at the next UPKEEP.

    If paths to where it was mislead, they fade: the last bootstrap over the old link came at the move, and
    within a ROUND after ENTRY every node has sent a bootstrap that finds the new way.
    """
    back = [seconds for seed in range(3) for seconds in moves(name, size, seed, silent=silent)]
    print(f"{name} of {size}: found after {median(back):.1f} s (median), {max(back):.1f} s at most")
    assert median(back) <= SETUP + WAIT + ROUND + size * HOP
    assert max(back) <= SETUP + ENTRY + ROUND + size * HOP < MOVES_EVERY


def test_a_roaming_node_does_not_disturb_the_others() -> None:
    """It is not the root: nobody's parent changes when it comes and goes, and everybody's packets arrive."""
    network = settled("grid", 9, seed=4)
    roamer = network.add_host()
    assert strongest(network.hosts) is not roamer
    stations = [network.connect(roamer.number, number, plugged=False) for number in (0, 4, 8)]
    parents = {host.number: host.parent for host in network.hosts[:9]}
    others = [(one, other) for one, other in all_pairs(network) if max(one, other) < 9]
    roam(network, stations, every=MOVES_EVERY, silent=False)
    lost = []
    for _ in range(int(3 * MOVES_EVERY)):
        lost += undelivered(send_all(network, others, within=1.0))
    assert {host.number: host.parent for host in network.hosts[:9]} == parents
    assert network.crossings.longest[TRAFFIC] < 10
    assert lost == []
    assert eccentricity(network, 0) * LATENCY < 1.0
