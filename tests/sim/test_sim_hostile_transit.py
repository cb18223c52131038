# SPDX-License-Identifier: Apache-2.0
"""The only node between two others is hostile: what it does to their frames, in dials and renewals too."""

from collections.abc import Callable
from random import Random

import pytest

from pineconed.overlay.noise.primitives import X25519
from pineconed.overlay.session.message import encode_unknown
from pineconed.sim.clock import SimulationError
from pineconed.wire.watermark import Watermark
from tests.sim.hostile import (
    ROUND_TRIP,
    A,
    B,
    HostileNetwork,
    M,
    Meddle,
    Outgoing,
    assert_exactly,
    assert_nothing_else,
    assert_undirected,
    dropping,
    honest,
    kind,
    replaced,
)
from tests.unit.overlay.conversation import CONFIRM, DATA, INIT, RESPONSE, decoded
from tests.unit.overlay.packets import ipv6, ports

DIAL = 1.5 * ROUND_TRIP
RENEWAL = 3 * ROUND_TRIP
"""Three trips, a message in each, and one more because the sides need not begin at once."""

Attack = Callable[[HostileNetwork, Random], Meddle]


def forge_source_keys(network: HostileNetwork, rng: Random) -> Meddle:
    """Before each message the same one in the name of others."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        names = [network.key(M), rng.randbytes(32), decoded(frame).destination_key]
        return [*((0.0, replaced(frame, source_key=name)) for name in names), (0.0, frame)]

    return meddle


def forge_source_coords(network: HostileNetwork, _: Random) -> Meddle:
    """Before each message the same one that claims to come from elsewhere, also from where m is."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        places = [network.coords(M), (), (7, 7, 7)]
        return [*((0.0, replaced(frame, source=place)) for place in places), (0.0, frame)]

    return meddle


def replay(_network: HostileNetwork, _: Random) -> Meddle:
    """Each message again and again, at once and later."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        return [(delay, frame) for delay in (0.0, 0.0, 0.01, 0.3, 2.0, 9.0, 30.0)]

    return meddle


def reorder(_network: HostileNetwork, rng: Random) -> Meddle:
    """Each message later, by chance."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        return [(rng.uniform(0.0, 0.3), frame)]

    return meddle


def hold_back(_network: HostileNetwork, _: Random) -> Meddle:
    """Every third message seconds later."""
    number = 0

    def meddle(frame: bytes, _: int) -> Outgoing:
        nonlocal number
        number += 1
        return [(6.0 if number % 3 == 0 else 0.0, frame)]

    return meddle


def flip_payload(_network: HostileNetwork, rng: Random) -> Meddle:
    """Before each message three that differ from it in one bit."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        length = len(decoded(frame).payload)
        return [*((0.0, flipped(frame, -rng.randrange(length) - 1, rng)) for _ in range(3)), (0.0, frame)]

    return meddle


def flip_fields(_network: HostileNetwork, rng: Random) -> Meddle:
    """Before each message some with another bit in keys, coords, watermark, and what nobody looks at."""

    def meddle(frame: bytes, _: int) -> Outgoing:
        value = decoded(frame)
        source, destination = value.source_key, value.destination_key
        copies = [
            replaced(frame, source_key=flipped(source, rng.randrange(32), rng)),
            replaced(frame, destination_key=flipped(destination, rng.randrange(32), rng)),
            replaced(frame, source=tuple(port ^ 1 << rng.randrange(4) for port in value.source)),
            replaced(frame, destination=tuple(port ^ 1 << rng.randrange(4) for port in value.destination)),
            flipped(frame, 6, rng),
            flipped(frame, 7, rng),
        ]
        if not value.destination:
            mark = flipped(value.watermark.public_key, rng.randrange(32), rng)
            sequence = value.watermark.sequence ^ 1 << rng.randrange(8)
            copies.append(replaced(frame, watermark=Watermark(mark, sequence)))
        return [*((0.0, copy) for copy in copies), (0.0, frame)]

    return meddle


def bogus(number: int) -> Attack:
    """Before each RESPONSE and CONFIRM some that only its receiver can tell from it."""

    def attack(_network: HostileNetwork, rng: Random) -> Meddle:
        def meddle(frame: bytes, _: int) -> Outgoing:
            if kind(frame) not in (RESPONSE, CONFIRM):
                return honest(frame, 0)
            head = decoded(frame).payload[:8]
            made = [
                head + X25519().key_pair(rng.randbytes(32)).public + rng.randbytes(1200) for _ in range(5)
            ]
            bad = [made[each % 5][:-4] + each.to_bytes(4) for each in range(number)]
            return [*((0.0, replaced(frame, payload=payload)) for payload in bad), (0.0, frame)]

        return meddle

    return attack


def say_unknown(network: HostileNetwork, _: Random) -> Meddle:
    """Tell the sender of DATA that its receiver has no such session."""

    def meddle(frame: bytes, neighbour: int) -> Outgoing:
        payload = decoded(frame).payload
        if payload[0] == DATA:
            hint = encode_unknown(int.from_bytes(payload[4:8]), int.from_bytes(payload[8:16]))
            network.mallory.send(network.frame(neighbour, A + B - neighbour, hint), A + B - neighbour)
        return honest(frame, neighbour)

    return meddle


def bare_packets(network: HostileNetwork, _: Random) -> Meddle:
    """Beside each message an IPv6 packet in the clear, in the name of its sender."""

    def meddle(frame: bytes, neighbour: int) -> Outgoing:
        source, destination = (network.probe.addresses[host] for host in (A + B - neighbour, neighbour))
        return [
            (0.0, replaced(frame, payload=ipv6(source, destination, ports(1, 9, bytes(20))))),
            (0.0, frame),
        ]

    return meddle


def everything(network: HostileNetwork, rng: Random) -> Meddle:
    """All of it, one after the other; but to hold back DATA until its keys are gone is to drop it."""
    others = [attack for attack in ATTACKS.values() if attack not in (everything, hold_back)]
    all_of_it = [attack(network, rng) for attack in others]

    def meddle(frame: bytes, neighbour: int) -> Outgoing:
        return rng.choice(all_of_it)(frame, neighbour)

    return meddle


def flipped(data: bytes, at: int, rng: Random) -> bytes:
    """The same with another bit at a byte."""
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


ATTACKS: dict[str, Attack] = {
    "forged source keys": forge_source_keys,
    "forged source coords": forge_source_coords,
    "replays": replay,
    "other order": reorder,
    "held back": hold_back,
    "bits of messages": flip_payload,
    "bits of frames": flip_fields,
    "1 bogus": bogus(1),
    "8 bogus": bogus(8),
    "50 bogus": bogus(50),
    "unknown": say_unknown,
    "bare packets": bare_packets,
    "everything": everything,
}

NAMED: dict[str, set[str]] = {
    "forged source keys": {"data_foreign_key", "response_foreign_key"},
    "forged source coords": {"data_forged"},
    "replays": {"data_replayed", "response_unexpected"},
    "bits of messages": {"data_forged"},
    "bits of frames": {"data_forged", "data_foreign_key"},
    "8 bogus": {"response_refused", "confirm_refused"},
    "50 bogus": {"response_refused", "confirm_refused"},
    "unknown": {"hint_ignored"},
    "bare packets": {"bare_not_listed"},
}
"""What is counted at a or b."""

LATE = {"other order": 1.0, "held back": 8.0, "everything": 2.0}
"""Attacks that hold frames up, and by how much that can put off a dial or a renewal."""


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_node_on_the_way(name: str, seed: int) -> None:
    """It disturbs a dial, what follows, a renewal from each side, and a second dial."""
    network = HostileNetwork(seed)
    network.mallory.meddle = ATTACKS[name](network, Random(seed))
    late = LATE.get(name, 0.0)
    first = network.send(A, B)
    dialled = network.run_until_delivered(first, DIAL + late + 0.01)
    sent = [first, *network.talk(30)]
    renewals = []
    for host in (A, B):
        before = network.session(host)
        network.renew_in(0.0, host)
        renewals.append(network.run_until_renewed(before, RENEWAL + late))
        sent += network.talk(30)
    before = network.session(A)
    network.redial(A)
    renewals.append(network.run_until_renewed(before, RENEWAL + late))
    sent += network.talk(30)
    network.run_for(40.0)
    assert_exactly(network, sent)
    assert_undirected(network, network.mallory)
    assert [len(network.sessions(host).newest) for host in (A, B)] == [1, 1]
    counted = {*network.drops(A), *network.drops(B)}
    assert counted >= NAMED.get(name, set())
    print(
        f"{name}: dial {dialled:.3f} s, renewals {[round(one, 2) for one in renewals]} s, {sorted(counted)}"
    )


@pytest.mark.parametrize("phase", ["dial", "session", "renewal"])
def test_one_that_only_drops_does_only_that(phase: str) -> None:
    network = HostileNetwork()
    sent = []
    if phase != "dial":
        sent += network.talk(5)
    network.mallory.meddle = dropping
    if phase == "renewal":
        network.renew_in(0.0)
    lost = [network.send(A, B), network.send(B, A)]
    network.run_for(3.0)
    network.mallory.meddle = honest
    if phase == "dial":
        network.run_for(1.0)
        assert_exactly(network, lost)
    else:
        assert [one.copies for one in lost] == [0, 0]
    sent += network.talk(20)
    network.run_for(10.0)
    assert_exactly(network, sent)
    assert_undirected(network, network.mallory)


def test_what_is_dropped_for_long_is_told_and_a_later_dial_succeeds() -> None:
    network = HostileNetwork()
    network.mallory.meddle = dropping
    lost = network.send(A, B)
    network.run_for(9.0)
    assert lost.refused
    network.mallory.meddle = honest
    assert network.run_until_delivered(network.send(A, B), 1.0) == pytest.approx(DIAL)


def test_a_confirm_that_comes_when_its_sender_has_given_up_makes_no_session() -> None:
    """Otherwise b would send on a session that a does not have."""
    network = HostileNetwork()
    sent = network.talk(5)
    before = network.session(B)
    network.mallory.meddle = lambda frame, _: [(9.0 if kind(frame) == CONFIRM else 0.0, frame)]
    network.redial(A)
    sent += network.talk(120)
    assert network.session(B) is before
    assert network.drops(B)["confirm_refused"] >= 1
    assert_exactly(network, sent)


def test_a_renewal_whose_last_message_is_held_back_leaves_the_session() -> None:
    network = HostileNetwork()
    sent = network.talk(5)
    before = network.session(B)
    network.renew_in(0.0)
    held: list[int] = []

    def meddle(frame: bytes, neighbour: int) -> Outgoing:
        """The renewal's CONFIRMs: what a sends in a second that is not as long as a packet or an INIT."""
        if neighbour == B and kind(frame) == DATA and 150 <= len(decoded(frame).payload) < 1000:
            held.append(len(frame))
            return [(9.0, frame)]
        return honest(frame, neighbour)

    network.mallory.meddle = meddle
    network.clock.after(7.6, lambda: setattr(network.mallory, "meddle", honest))
    sent += network.talk(120)
    assert held
    network.run_for(5.0)
    assert_exactly(network, sent)
    assert network.session(A).index == network.session(B).remote_index
    assert before.index != network.session(B).index


def test_a_recorded_conversation_means_nothing_later() -> None:
    network = HostileNetwork()
    network.talk(20)
    recorded = [frame for frame in network.mallory.carried if kind(frame) in range(INIT, DATA + 1)]
    for host in (A, B):
        network.hosts[host].node.close_sessions(network.hosts[host].now())
        network.hosts[host]._turn()
    network.run_for(30.0)
    arrived = [one.copies for one in network.probe.deliveries]
    for frame in recorded:
        to = A if decoded(frame).destination_key == network.key(A) else B
        network.mallory.send(frame, to)
    network.run_for(20.0)
    assert [one.copies for one in network.probe.deliveries] == arrived
    assert [len(network.sessions(host).newest) for host in (A, B)] == [0, 0]
    assert_nothing_else(network)
    sent = network.talk(5)
    assert_exactly(network, sent)


def test_forged_hints_cost_one_dial_in_five_seconds() -> None:
    network = HostileNetwork()
    sent = network.talk(2)
    network.mallory.carried.clear()
    network.mallory.meddle = say_unknown(network, Random(1))
    sent += network.talk(200)
    inits = [decoded(frame) for frame in network.mallory.carried if kind(frame) == INIT]
    for host in (A, B):
        assert 4 <= len({frame.payload for frame in inits if frame.source_key == network.key(host)}) <= 5
    assert_exactly(network, sent)


def test_a_response_that_never_fits_ends_the_attempt_and_nothing_else() -> None:
    """Only the timer ends an attempt; every genuine answer replaced is as good as dropped."""
    network = HostileNetwork()

    def meddle(frame: bytes, _: int) -> Outgoing:
        return [(0.0, flipped(frame, -1, Random(1)) if kind(frame) == RESPONSE else frame)]

    network.mallory.meddle = meddle
    refused = network.send(A, B)
    with pytest.raises(SimulationError):
        network.run_until_delivered(refused, 7.4)
    network.run_for(0.2)
    assert refused.refused
    network.mallory.meddle = honest
    network.run_for(1.0)
    assert_exactly(network, network.talk(3))
