# SPDX-License-Identifier: Apache-2.0
"""Floods of INITs named as the peer, by the node on the way and by one beside it, in whole networks.

The flood begins a second before the dial or the renewal, so that it has used up what a quiet time saves.
"""

import pytest

from pineconed.overlay.session.half_open import MAX_HALF_OPEN
from pineconed.overlay.session.handshake_queue import MAX_WAITING
from pineconed.overlay.session.message import pad_init
from pineconed.overlay.session.port_budget import HANDSHAKE_RATE
from tests.sim.hostile import (
    ROUND_TRIP,
    A,
    Attacker,
    B,
    HostileNetwork,
    M,
    Outgoing,
    assert_exactly,
    assert_undirected,
    honest,
    kind,
)
from tests.unit.overlay.conversation import INIT, RESPONSE, decoded

LEAD, SECONDS = 1.0, 4.0
DIAL = 1.5 * ROUND_TRIP

PLACES = {
    "on the way": (None, M),
    "beside a": (A, A),
    "beside b": (B, B),
    "off the way, by the same port": (M, M),
}
"""Where a flood comes from: what node x hangs on, and whom the flooding node gives its frames to."""


def flooded(place: str, rate: float, each: int = 1) -> tuple[HostileNetwork, list[Attacker]]:
    """A network in which a flood of both a and b has been planned."""
    beside, neighbour = PLACES[place]
    network = HostileNetwork(1, beside)
    attacker = network.outsider or network.mallory
    for to in (A, B):
        network.flood(
            attacker, to if neighbour == M and beside is None else neighbour, to, rate, SECONDS, each
        )
    return network, [attacker, network.mallory]


def answered(network: HostileNetwork, host: int) -> int:
    """How many different RESPONSEs of a or b crossed the way between them."""
    frames = [decoded(frame) for frame in network.mallory.carried if kind(frame) == RESPONSE]
    return len({frame.payload for frame in frames if frame.source_key == network.key(host)})


def assert_within_budget(network: HostileNetwork) -> None:
    """The flood cost no more than the budget, and what it left behind is bounded."""
    for host in (A, B):
        assert answered(network, host) <= HANDSHAKE_RATE * (1 + SECONDS) + MAX_WAITING + 10
        assert network.sessions(host).counts()["half_open_handshakes"] <= MAX_HALF_OPEN


RATES = pytest.mark.parametrize("rate", [5, pytest.param(1000, marks=pytest.mark.slow)])


@pytest.mark.parametrize("each", [1, 2])
@RATES
@pytest.mark.parametrize("place", PLACES)
def test_a_flood_does_not_prevent_a_dial(place: str, rate: int, each: int) -> None:
    network, attackers = flooded(place, rate, each)
    network.run_for(LEAD)
    first = network.send(A, B)
    seconds = network.run_until_delivered(first, 1.2)
    sent = [first, *network.talk(20, every=0.02)]
    before = network.session(B)
    network.redial(B)
    again = network.run_until_renewed(before, 1.2)
    sent += network.talk(20, every=0.02)
    network.run_for(SECONDS)
    print(f"{rate}/s {place}, each {each} times: dial {seconds:.3f} s, from the other side {again:.2f} s")
    assert_exactly(network, sent)
    assert_undirected(network, *attackers)
    assert_within_budget(network)
    drops = network.drops(A).get("init_over_budget", 0), network.drops(B).get("init_over_budget", 0)
    if rate == 5:
        assert seconds == pytest.approx(DIAL)
        assert drops == (0, 0)
    else:
        assert max(drops) > 100


@RATES
@pytest.mark.parametrize("place", PLACES)
def test_a_flood_does_not_hold_up_a_renewal(place: str, rate: int) -> None:
    network, attackers = flooded(place, rate)
    sent = network.talk(5, every=0.05)
    network.run_for(LEAD - 0.25)
    renewals = []
    for host in (A, B):
        before = network.session(A)
        network.renew_in(0.0, host)
        renewals.append(round(network.run_until_renewed(before, 0.2), 2))
        sent += network.talk(10, every=0.05)
    network.run_for(SECONDS)
    print(f"{rate}/s {place}: renewed in {renewals} s")
    assert_exactly(network, sent)
    assert_undirected(network, *attackers)
    assert_within_budget(network)


def test_a_flood_of_the_genuine_init_under_other_names_and_coords() -> None:
    """The bytes of the genuine message 1, from elsewhere and in the name of others, before and after it."""
    network = HostileNetwork()

    def meddle(frame: bytes, _: int) -> Outgoing:
        value = decoded(frame)
        if kind(frame) != INIT or value.source_key != network.key(A):
            return honest(frame, 0)
        elsewhere = network.frame(A, B, value.payload, network.coords(M))
        others = network.frame(M, B, value.payload)
        return [*((n / 1000, copy) for n in range(100) for copy in (elsewhere, others)), (0.1, frame)]

    network.mallory.meddle = meddle
    first = network.send(A, B)
    seconds = network.run_until_delivered(first, 1.0)
    sent = [first, *network.talk(20)]
    print(f"dialled in {seconds:.3f} s")
    assert_exactly(network, sent)
    assert_undirected(network)


@pytest.mark.slow
def test_a_handshake_waits_for_its_confirm_through_a_flood() -> None:
    """A thousand half-open ones are pushed out in five seconds, and no round trip takes so long."""
    network = HostileNetwork(1, B)
    assert network.outsider is not None
    network.flood(network.outsider, B, B, 1000, 9.0)
    network.run_for(4.0)
    network.mallory.meddle = lambda frame, _: [(1.5, frame)]
    first = network.send(A, B)
    seconds = network.run_until_delivered(first, 7.5)
    print(f"dialled in {seconds:.3f} s at a round trip of {ROUND_TRIP + 3} s")
    network.run_for(10.0)
    assert_exactly(network, [first])
    assert network.drops(B)["half_open_evicted"] > 0


def test_the_same_bytes_in_a_flood_are_answered_at_no_cost_and_to_nobody_else() -> None:
    network = HostileNetwork(1, B)
    assert network.outsider is not None
    first = network.send(A, B)
    network.run_for(1.0)
    [init] = {decoded(frame).payload for frame in network.mallory.carried if kind(frame) == INIT}
    assert init == pad_init(init)
    for number in range(2000):
        frame = network.frame(A, B, init, network.coords(3))
        network.clock.after(number / 1000, network.outsider.send, frame, B)
    sent = [first, *network.talk(20)]
    network.run_for(1.0)
    assert_exactly(network, sent)
    assert answered(network, B) == 1
    assert_undirected(network, network.outsider)
