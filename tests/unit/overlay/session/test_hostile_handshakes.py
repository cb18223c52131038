# SPDX-License-Identifier: Apache-2.0
"""Handshakes that are bogus, in the name of others, or too many."""

from collections.abc import Callable
from random import Random

import pytest

from pineconed.overlay.events import HandshakeRefused
from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.noise.primitives import X25519
from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.half_open import MAX_HALF_OPEN
from pineconed.overlay.session.handshake_queue import MAX_WAITING
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.initiation import Initiation, Response
from pineconed.overlay.session.items import Items, encode_items
from pineconed.overlay.session.message import MessageType, encode_header, pad_init
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.responding import RESPONSES_AT_ONCE
from tests.unit.overlay.conversation import (
    CONFIRM,
    INIT,
    LATENCY,
    RESPONSE,
    Conversation,
    Deliveries,
    Side,
    decoded,
    lost,
    prompt,
)
from tests.unit.overlay.hostile import MALLORY, Meddler, frame_of, invented, times_of
from tests.unit.overlay.packets import OUTSIDE, ipv6


@pytest.mark.parametrize("rate", [5, 1000])
@pytest.mark.parametrize("phase", ["dial", "renewal"])
def test_inits_named_as_the_peer_prevent_nothing(rate: int, phase: str) -> None:
    talk = Conversation()
    rng = Random(rate)
    bogus = [invented(rng) for _ in range(20)]

    def flood(seconds: float) -> None:
        for number in range(int(rate * seconds)):
            # A different INIT each time; the random number that it begins with is enough for that.
            init = bogus[number % 20]
            init = init[:4] + number.to_bytes(4) + init[8:]
            for side in (talk.a, talk.b):
                talk.inject(side, frame_of(side.peer.key, side, init), number / rate)

    if phase == "renewal":
        talk.establish()
        talk.run(talk.a.session.rekey_at - talk.now - 0.5)
    before = talk.now
    flood(2.0)
    packets = [talk.a.packet(number) for number in range(20)]
    for packet in packets:
        talk.send(talk.a, packet)
        talk.run(0.1)
    talk.run(1.0)
    assert talk.b.packets == packets
    assert talk.a.session.created_at > before
    assert talk.a.endpoint.sessions.counts()["sessions"] == (2 if phase == "renewal" else 1)
    for side in (talk.a, talk.b):
        assert side.endpoint.sessions.counts()["half_open_handshakes"] <= MAX_HALF_OPEN
        answered = sum(frame.payload[0] == RESPONSE for _, by, frame in talk.traffic() if by is side)
        assert answered <= 10 + 200 * 3 + MAX_WAITING
    if rate == 1000:
        assert talk.b.drops["init_over_budget"] > 1000


def test_an_init_that_never_ends_is_answered_four_times_and_then_once_a_second() -> None:
    """The answers would take the way to the peer, whom the INIT names, away from the session."""
    talk = Conversation()
    talk.establish()
    rng = Random(4)
    flood = [frame_of(talk.a.key, talk.b, invented(rng)), frame_of(talk.a.key, talk.b, invented(rng))]
    for number in range(2000):
        talk.inject(talk.b, flood[number % 2], number / 1000)
    talk.run(3.0)
    answered = sum(frame.payload[0] == RESPONSE for _, by, frame in talk.traffic() if by is talk.b)
    assert answered == 2 * (RESPONSES_AT_ONCE + 1)
    assert talk.b.drops == {"init_repeated": 2000 - answered}


def test_a_wrong_owner_of_the_address_gets_nothing() -> None:
    """Another node answers in its own name, or in that of the node dialled."""
    for named in (MALLORY.public_key, None):
        talk = Conversation()
        rng = Random(3)
        party = Party(MALLORY, rng.randbytes)

        def answer_all(
            _: Side,
            frame: bytes,
            talk: Conversation = talk,
            party: Party = party,
            named: bytes | None = named,
        ) -> Deliveries:
            value = decoded(frame)
            if value.payload[0] == INIT:
                init = value.payload[: 8 + 1216]
                response = Answer(party, talk.a.key, init, 77, b"\0\0", talk.now).response
                talk.inject(talk.a, frame_of(named or talk.b.key, talk.a, response), 0.1)
            return []

        talk.wire = answer_all
        talk.send(talk.a, talk.a.packet())
        talk.run(10.0)
        assert talk.a.errors == [(1, 3)]
        assert times_of(talk, CONFIRM) == 0
        assert talk.a.drops.keys() <= {"response_refused", "response_foreign_key", "out_unreachable"}
        refused = [event for event in talk.a.events if isinstance(event, HandshakeRefused)]
        assert len(refused) == (1 if named is None else 0)


def _with_payload(talk: Conversation, payload: Callable[[bytes], bytes], identity: Ed25519Identity) -> bytes:
    """A RESPONSE to the INIT that a sent, by `identity` in the name of b, that tells what a test wants."""
    init = talk.traffic()[0][2].payload[: 8 + 1216]
    party = Party(identity, talk.rng.randbytes)
    handshake: Handshake = party.handshake(init, talk.a.key, initiator=False)
    handshake.read_message(init[8:])
    written = handshake.write_message(payload(party.payload(None, 9)), talk.rng.randbytes)
    return encode_header(MessageType.RESPONSE, int.from_bytes(init[4:8])) + written


@pytest.mark.parametrize(
    "payload",
    [
        lambda _: b"",
        lambda _: b"\x01",
        lambda _: encode_items(Items(MALLORY.public_key, index=9)),
        lambda good: good.replace(good[3:35], good[3:34] + bytes([good[34] ^ 0x80])),
        lambda good: encode_items(Items(good[3:35])),
        lambda good: good[:-1],
    ],
    ids=["empty", "cut off", "another key", "another sign", "no index", "cut short"],
)
def test_handshakes_that_do_not_add_up_are_refused(payload: Callable[[bytes], bytes]) -> None:
    talk = Conversation()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    bad = _with_payload(talk, payload, talk.b.identity)
    talk.inject(talk.a, frame_of(talk.b.key, talk.a, bad))
    talk.run(0.1)
    assert talk.a.drops == {"response_refused": 1}
    good = _with_payload(talk, lambda good: good, talk.b.identity)
    talk.inject(talk.a, frame_of(talk.b.key, talk.a, good))
    talk.run(0.1)
    assert times_of(talk, CONFIRM) == 1


def test_our_own_init_is_not_answered() -> None:
    talk = Conversation()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    talk.inject(talk.a, frame_of(talk.a.key, talk.a, talk.traffic()[0][2].payload))
    talk.run(0.1)
    assert talk.a.drops == {"init_refused": 1}
    assert talk.a.endpoint.sessions.counts()["half_open_handshakes"] == 0


@pytest.mark.parametrize("number", [1, 8, 12, 150])
def test_bogus_responses_before_the_genuine_one(number: int) -> None:
    talk = Conversation()
    rng = Random(2)
    talk.wire = lambda side, frame: prompt(side, frame) if side is talk.a else [(0.3, frame)]
    talk.send(talk.a, talk.a.packet())
    init = talk.traffic()[0][2].payload
    for serial in range(number):
        talk.inject(talk.a, frame_of(talk.b.key, talk.a, _bogus_response(init, rng)), serial / 10**6)
    talk.inject(talk.a, frame_of(MALLORY.public_key, talk.a, _bogus_response(init, rng)))
    talk.run(1.0)
    assert talk.b.packets == [talk.a.packet()]
    assert talk.a.drops == {"response_foreign_key": 1, "response_refused": number}


@pytest.mark.parametrize("each", [1, 2, 4])
def test_a_flood_of_bogus_responses_costs_little_and_prevents_no_dial(each: int) -> None:
    """A thousand a second for the right handshake, each of them so many times."""
    talk = Conversation()
    rng = Random(2)
    tried = 0
    original = Initiation.read_response

    def counting(self: Initiation, source_key: bytes, message: bytes) -> Response:
        nonlocal tried
        tried += 1
        return original(self, source_key, message)

    talk.wire = lambda side, frame: prompt(side, frame) if side is talk.a else [(1.2, frame)]
    talk.send(talk.a, talk.a.packet())
    init = talk.traffic()[0][2].payload
    for serial in range(4000 // each):
        frame = frame_of(talk.b.key, talk.a, _bogus_response(init, rng))
        for again in range(each):
            talk.inject(talk.a, frame, each * serial / 1000 + 0.5 * again)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Initiation, "read_response", counting)
        talk.run(4.0)
    assert talk.b.packets == [talk.a.packet()]
    assert tried < 200 + 200 * 4
    assert talk.a.drops["response_over_budget"] > 0


def _bogus_response(init: bytes, rng: Random) -> bytes:
    """One for this INIT that is refused only after some computing."""
    return b"\x02\0\0\0" + init[4:8] + X25519().key_pair(rng.randbytes(32)).public + rng.randbytes(1300)


def test_refusals_are_told_once_a_minute() -> None:
    talk = Conversation()
    bad = frame_of(MALLORY.public_key, talk.b, b"\x01" + bytes(7) + bytes(1392))
    for number in range(150):
        changed = bad[:-4] + number.to_bytes(4)
        talk.inject(talk.b, changed[:-1220] + number.to_bytes(4) + changed[-1216:], number)
    talk.run(155.0)
    assert talk.b.drops == {"init_refused": 150}
    told = [event for event in talk.b.events if isinstance(event, HandshakeRefused)]
    assert len(told) == 3
    assert told[0].source_key == MALLORY.public_key


def test_a_confirm_by_somebody_else() -> None:
    talk = Conversation()
    talk.wire = Meddler(CONFIRM, lambda frame: frame.replace(talk.a.key, MALLORY.public_key))
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert talk.b.drops == {"confirm_foreign_key": 1}


def test_another_confirm_for_a_session_that_is_there() -> None:
    talk = Conversation()
    talk.wire = Meddler(CONFIRM, lambda frame: frame)
    talk.wire = lambda side, frame: (
        [(LATENCY, frame), (LATENCY, frame[:-1] + bytes([frame[-1] ^ 1]))]
        if decoded(frame).payload[0] == CONFIRM
        else prompt(side, frame)
    )
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert talk.b.drops == {"confirm_unexpected": 1}


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (lambda talk: talk.a.packet(1) + talk.a.packet(2), "plaintext_malformed"),
        (lambda talk: talk.a.packet()[:0], "plaintext_malformed"),
        (lambda talk: ipv6(OUTSIDE, talk.b.address), "in_foreign_source"),
    ],
)
def test_a_first_packet_is_checked_like_any_other(
    packet: Callable[[Conversation], bytes], cause: str
) -> None:
    talk = Conversation()
    carried = packet(talk)
    initiation = Initiation(Party(talk.a.identity, talk.rng.randbytes), 5, talk.now)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, pad_init(initiation.message)))
    talk.run(0.01)
    response = initiation.read_response(talk.b.key, talk.traffic()[-1][2].payload)
    initiation.accept(response, None, carried, talk.now)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, initiation.confirm))
    talk.run(0.01)
    assert talk.b.packets == []
    assert talk.b.drops == {cause: 1}
    assert talk.b.endpoint.sessions.counts()["sessions"] == 1


def test_a_peer_cannot_have_us_compute_renewals_at_will() -> None:
    talk = Conversation()
    talk.establish()
    rng = Random(4)
    context = talk.a.endpoint.sessions.context
    party = context.party
    for _ in range(20):
        init = Initiation(party, rng.getrandbits(32), talk.now).message
        context.send_inside(talk.a.session, b"\x04" + init, talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert talk.b.drops == {"rekey_refused": 19}
    for _ in range(3):
        talk.run(9.0)
        init = Initiation(party, rng.getrandbits(32), talk.now).message
        context.send_inside(talk.a.session, b"\x04" + init, talk.now)
        talk._after(talk.a)
        talk.run(1.0)
    assert talk.b.drops == {"rekey_refused": 19}
    assert len(talk.b.endpoint.sessions.context.indices.owners) == 2


def test_a_peer_cannot_have_us_renew_what_was_just_renewed() -> None:
    """Each renewal makes a new session, by which the next one may be asked for."""
    talk = Conversation()
    talk.establish()
    rekeying = talk.a.endpoint.sessions._rekeying
    for _ in range(30):
        if talk.a.session.rekey is None:
            rekeying.begin(talk.a.session, talk.now)
            talk._after(talk.a)
        talk.run(0.5)
    assert talk.b.endpoint.sessions.counts()["sessions"] == 3
    assert talk.b.drops["rekey_refused"] > 4


def test_a_renewal_is_for_the_same_node_only() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    context = talk.a.endpoint.sessions.context
    # Mallory's handshake inside the session of a is bound to a's key, and so its RESPONSE is not for Mallory.
    rekey = Initiation(Party(MALLORY, Random(1).randbytes), 4711, talk.now)
    context.send_inside(session, b"\x04" + rekey.message, talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    answer = talk.b.session.rekey_answer
    assert isinstance(answer, Answer)
    with pytest.raises(ValueError, match="forged"):
        rekey.read_response(talk.b.key, answer.response)
    assert talk.b.session.remote_index == session.index


def test_renewal_messages_in_the_open_are_not_taken() -> None:
    """The handshake of a renewal counts only inside its session."""
    talk = Conversation()
    talk.establish()
    talk.run(talk.a.session.rekey_at - talk.now - 0.1)
    talk.wire = lost
    talk.run(0.2)
    rekey = talk.a.session.rekey
    assert isinstance(rekey, Initiation)
    party = talk.b.endpoint.sessions.context.party
    answer = Answer(party, talk.a.key, rekey.message, 1, b"\0\0", talk.now)
    talk.inject(talk.a, frame_of(talk.b.key, talk.a, answer.response))
    talk.run(0.1)
    assert talk.a.drops == {"response_unexpected": 1}
    talk.wire = prompt
    talk.run(rekey.begun_at + 0.5 + 1.5 * LATENCY - talk.now)
    inner = talk.b.session.rekey_answer
    assert inner is not None
    confirm = encode_header(MessageType.CONFIRM, inner.index) + bytes(200)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, confirm))
    talk.run(0.0)
    assert talk.b.drops.get("confirm_unexpected") == 1
