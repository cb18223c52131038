# SPDX-License-Identifier: Apache-2.0
"""A node off the way between two others, which knows their keys and places and can say anything.

What it cannot know are the numbers that they drew. A test tells it some all the same.
"""

from random import Random

import pytest

from pineconed.overlay.session.message import DATA_HEADER, MessageType, encode_header, encode_unknown
from tests.sim.hostile import (
    ROUND_TRIP,
    A,
    B,
    HostileNetwork,
    M,
    X,
    assert_exactly,
    assert_undirected,
)
from tests.unit.overlay.packets import ipv6, ports

BESIDE = pytest.mark.parametrize("beside", [A, M, B])


def shout(network: HostileNetwork, beside: int, rng: Random, seconds: float, *, knows: bool) -> None:
    """Plan 200 messages a second of every kind to a and b, named as the other, from anywhere."""
    for number in range(int(seconds * 200)):
        network.clock.after(number / 200, _shout_one, network, beside, rng, knows)


def _shout_one(network: HostileNetwork, beside: int, rng: Random, knows: bool) -> None:
    outsider = network.outsider
    assert outsider is not None
    to = rng.choice((A, B))
    source = A + B - to
    session = network.sessions(to).newest.get(network.key(source)[:15]) if knows else None
    index = session.index if session is not None else rng.getrandbits(32)
    counter = rng.randrange(100)
    addresses = [network.probe.addresses[host] for host in (source, to)]
    payload = rng.choice(
        (
            encode_header(MessageType.RESPONSE, index) + rng.randbytes(1300),
            encode_header(MessageType.CONFIRM, index) + rng.randbytes(200),
            DATA_HEADER.pack(MessageType.DATA << 24, index, counter) + rng.randbytes(80),
            encode_unknown(index, counter),
            ipv6(addresses[0], addresses[1], ports(1, 9, bytes(20))),
            rng.randbytes(40),
        )
    )
    place = rng.choice((network.coords(source), network.coords(X), (), (5, 5)))
    outsider.send(network.frame(source, to, payload, place), beside)


@BESIDE
@pytest.mark.parametrize("knows", [False, True])
def test_whatever_it_says_changes_nothing(beside: int, knows: bool) -> None:
    network = HostileNetwork(1, beside)
    assert network.outsider is not None
    shout(network, beside, Random(1), 20.0, knows=knows)
    network.run_for(1.0)
    first = network.send(A, B)
    dialled = network.run_until_delivered(first, 1.0)
    sent = [first, *network.talk(30)]
    renewals = []
    for host in (A, B):
        before = network.session(A)
        network.renew_in(0.0, host)
        renewals.append(network.run_until_renewed(before, 1.0))
        sent += network.talk(30)
    network.run_for(15.0)
    assert_exactly(network, sent)
    assert_undirected(network, network.outsider, network.mallory)
    drops = network.drops(B)
    print(
        f"x beside {beside}: dial {dialled:.3f} s, renewals {[round(one, 2) for one in renewals]} s, {drops}"
    )
    assert dialled == pytest.approx(1.5 * ROUND_TRIP)
    wanted = {"data_forged", "data_replayed"} if knows else {"data_unknown"}
    assert drops.keys() >= wanted | {"bare_not_listed", "hint_ignored", "response_unexpected"}


@BESIDE
def test_an_honest_dial_of_its_own_is_another_session(beside: int) -> None:
    """It has a key, and so an address; in its own name it is a node like any other, and no more."""
    network = HostileNetwork(1, beside)
    sent = network.talk(5)
    mine = [network.send(X, A), network.send(X, B)]
    sent += network.talk(5)
    network.run_for(1.0)
    assert_exactly(network, [*sent, *mine])
    for host in (A, B):
        assert len(network.sessions(host).newest) == 2
    assert_undirected(network, network.mallory)


@BESIDE
def test_packets_in_the_name_of_another_node_are_not_taken_from_its_session(beside: int) -> None:
    network = HostileNetwork(1, beside)
    sent = network.talk(5)
    network.send(X, B)
    network.run_for(1.0)
    session = network.sessions(X).newest[network.key(B)[:15]]
    forged = ipv6(network.probe.addresses[A], network.probe.addresses[B], ports(1, 9, bytes(20)))
    host = network.hosts[X]
    network.sessions(X).context.send_inside(session, forged, network.clock.now)
    host._turn()
    network.run_for(1.0)
    assert network.drops(B)["in_foreign_source"] == 1
    assert_exactly(network, sent)
