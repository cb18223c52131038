# SPDX-License-Identifier: Apache-2.0
"""Renewing and expiring keys."""

from random import Random

import pytest

from pineconed.clock import NEVER
from pineconed.dataplane.forward import SendResult
from pineconed.overlay.events import SessionDown
from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.party import Timing
from pineconed.overlay.session.session import Session
from tests.unit.overlay.conversation import (
    BEGIN,
    CONFIRM,
    DATA,
    INIT,
    LATENCY,
    Conversation,
    Losing,
    Side,
    kinds,
    lost,
    prompt,
)


def test_a_session_with_traffic_is_renewed_before_its_keys_are_old() -> None:
    talk = Conversation()
    talk.establish()
    first = talk.a.session
    sent = []
    for number in range(300):
        sent.append(talk.a.packet(number))
        talk.send(talk.a, sent[-1])
        talk.run(1.0)
    assert talk.b.packets == sent
    assert talk.a.session is not first
    assert talk.a.session.initiator
    assert 110 <= talk.a.session.created_at - first.created_at < 240
    assert talk.a.session.tally is first.tally
    assert talk.a.session.index == talk.b.session.remote_index
    assert not talk.a.drops
    assert not talk.b.drops
    assert len(talk.a.events) == 1
    assert set(kinds(talk, talk.a)) == {DATA}
    assert talk.a.endpoint.sessions.counts()["sessions"] <= 2


def test_renewals_show_the_round_trip() -> None:
    talk = Conversation()
    talk.establish()
    first = talk.a.session
    talk.wire = lambda _, frame: [(0.2, frame)]
    while talk.a.session is first:
        talk.send(talk.a, talk.a.packet())
        talk.run(0.5)
        talk.send(talk.b, talk.b.packet())
        talk.run(0.5)
    assert [side.session.tally.rtt for side in (talk.a, talk.b)] == pytest.approx([0.4, 0.4])


def test_the_responder_renews_when_the_initiator_does_not() -> None:
    talk = Conversation(a={"timing": Timing(rekey_after=500.0)})
    talk.establish()
    created = talk.b.session.created_at
    for number in range(160):
        talk.send(talk.a, talk.a.packet(number))
        talk.run(1.0)
    assert talk.b.session.initiator
    assert talk.b.session.created_at == pytest.approx(created + 150.1, abs=0.2)
    assert len(talk.b.packets) == 160


def test_keys_that_expire_in_the_middle_of_a_transfer() -> None:
    """When renewing is impossible, the old keys are refused in time and a new session is dialled."""
    never = Timing(rekey_after=1e9, responder_rekey_after=1e9)
    talk = Conversation(a={"timing": never}, b={"timing": never})
    talk.establish()
    packets = [talk.a.packet(number) for number in range(2000)]
    for packet in packets:
        talk.send(talk.a, packet)
        talk.run(0.1)
    talk.run(1.0)
    assert talk.b.packets == packets
    assert kinds(talk, talk.a).count(INIT) == 1
    assert kinds(talk, talk.a).count(CONFIRM) == 1


def test_old_keys_are_refused() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    frame = talk.frames[-1][2]
    session = talk.b.session
    session.timer_at = NEVER  # the timer is late
    talk.now = session.expires_at
    talk.inject(talk.b, frame)
    talk._due[0][2]()
    assert talk.b.packets == []
    assert talk.b.drops == {"data_expired": 1}


def test_a_session_without_traffic_is_left_to_expire() -> None:
    talk = Conversation()
    talk.establish()
    talk.run(100.0)
    assert talk.frames == []
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(125.0)
    renewed = talk.a.session
    assert renewed.created_at > BEGIN + 100
    assert not renewed.carried_packets
    talk.run(54.9)
    assert [side.endpoint.sessions.counts()["sessions"] for side in (talk.a, talk.b)] == [2, 2]
    talk.run(0.3)
    assert talk.a.endpoint.sessions.counts()["sessions"] == 0
    assert talk.b.endpoint.sessions.counts()["sessions"] == 0
    assert talk.a.endpoint.deadline() == NEVER
    assert not talk.a.endpoint.sessions.context.indices.owners
    assert isinstance(talk.a.events[-1], SessionDown)


def test_an_idle_session_that_gets_traffic_late_is_renewed_late() -> None:
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(100.0)
    talk.send(talk.a, talk.a.packet())
    talk.run(25.0)
    session = talk.a.session
    talk.run(session.rekey_at - talk.now + 1.0)
    assert talk.a.session is session
    talk.send(talk.a, talk.a.packet())
    talk.run(6.0)
    assert talk.a.session is not session


def test_a_session_is_renewed_after_many_messages() -> None:
    talk = Conversation(a={"timing": Timing(message_limit=50)})
    talk.establish()
    session = talk.a.session
    for number in range(80):
        talk.send(talk.a, talk.a.packet(number))
        talk.run(0.2)
    assert talk.a.session is not session
    assert len(talk.b.packets) == 80


@pytest.mark.parametrize("seed", range(4))
def test_renewing_every_second_loses_nothing(seed: int) -> None:
    fast = Timing(rekey_after=1.0, rekey_jitter=0.2, responder_rekey_after=1.2)
    talk = Conversation(seed, a={"timing": fast}, b={"timing": fast})
    talk.establish()
    rng = Random(seed)
    talk.wire = lambda _, frame: [(LATENCY + rng.random() * 0.01, frame)]
    sent: dict[Side, list[bytes]] = {talk.a: [], talk.b: []}
    for number in range(1200):
        for side in (talk.a, talk.b):
            sent[side].append(side.packet(number))
            talk.send(side, sent[side][-1])
        talk.run(0.05)
    talk.run(1.0)
    for side in (talk.a, talk.b):
        assert sorted(side.packets) == sorted(sent[side.peer])
        assert side.endpoint.sessions.counts()["sessions"] <= 4
        assert side.drops.keys() <= {"data_unknown"}
        assert len(side.endpoint.sessions.context.indices.owners) <= 12


def test_a_renewal_that_is_not_answered_is_tried_again() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    talk.run(session.rekey_at - talk.now - 0.1)
    talk.wire = lost
    talk.run(7.7)
    talk.wire = prompt
    assert len(talk.messages(talk.a)) == 4
    assert session.rekey is None
    talk.run(1.2)
    assert talk.a.session is not session


@pytest.mark.parametrize("lost_number", range(4))
def test_renewal_with_a_lost_message(lost_number: int) -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    talk.run(session.rekey_at - talk.now - 0.1)
    talk.wire = Losing(lost_number)
    talk.run(5.0)
    talk.wire = prompt
    assert talk.a.session is not session
    assert talk.a.session.index == talk.b.session.remote_index
    talk.send(talk.a, talk.a.packet(9))
    talk.run(1.0)
    assert len(talk.b.packets) == 1


def test_a_renewal_and_a_probe_do_not_disturb_each_other() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    talk.run(session.rekey_at - talk.now - 2.5)
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    talk.run(5.0)
    assert len(talk.frames) == 1 + 3 + 1  # the packet, INITs at 0, 0.5 and 1.5 s, an echo request
    talk.wire = prompt
    talk.run(3.0)
    assert talk.a.session is not session


def test_repeated_messages_of_a_renewal() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    sent: list[bytes] = []
    context = talk.a.endpoint.sessions.context
    original = context.send_inside

    def note(session: Session, plaintext: bytes, now: float, *, along_snake: bool = False) -> SendResult:
        sent.append(plaintext)
        return original(session, plaintext, now, along_snake=along_snake)

    context.send_inside = note  # type: ignore[method-assign]
    talk.run(session.rekey_at - talk.now + 1.0)
    assert [plaintext[:2] for plaintext in sent] == [b"\x04\x01", b"\x04\x03"]
    before = len(talk.messages(talk.b))
    for plaintext in sent:
        original(session, plaintext, talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert len(talk.messages(talk.b)) == before + 2
    original(session, sent[1] + b"?", talk.now)
    talk.b.endpoint.sessions._lifecycle.drop(talk.b.session, "for a test")
    original(session, sent[1], talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert len(talk.messages(talk.b)) == before + 2
    assert talk.b.drops == {"rekey_refused": 1}


def test_a_renewal_is_not_confirmed_late() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    rekey = Initiation(talk.a.endpoint.sessions.context.party, 4711, talk.now)
    context = talk.a.endpoint.sessions.context
    context.send_inside(session, b"\x04" + rekey.message, talk.now)
    talk._after(talk.a)
    talk.run(11.0)
    answer = talk.b.session.rekey_answer
    assert isinstance(answer, Answer)
    rekey.accept(rekey.read_response(talk.b.key, answer.response), None, None, talk.now)
    context.send_inside(session, b"\x04" + rekey.confirm, talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert talk.b.drops == {"rekey_refused": 1}
    assert talk.b.session.remote_index == session.index


def test_both_renew_at_once() -> None:
    both = Timing(rekey_after=10.0, rekey_jitter=0.0, responder_rekey_after=10.0)
    talk = Conversation(a={"timing": both}, b={"timing": both})
    talk.establish()
    for side in (talk.a, talk.b):
        side.session.rekey_at = BEGIN + 10.0
        side.endpoint.sessions.context.timers.arm(side.session, BEGIN + 10.0)
    talk.run(10.0)
    assert talk.a.session.index == talk.b.session.remote_index
    assert talk.a.session.initiator == (talk.a.key > talk.b.key)
    assert talk.a.endpoint.sessions.counts()["sessions"] == 3
    talk.send(talk.a, talk.a.packet(1))
    talk.send(talk.b, talk.b.packet(2))
    talk.run(1.0)
    assert len(talk.a.packets) == len(talk.b.packets) == 1


def test_a_peer_has_four_sessions_at_most() -> None:
    talk = Conversation()
    talk.establish()
    for _ in range(6):
        talk.a.endpoint.sessions.dialler.redial(talk.b.key[:15], talk.now)
        talk._after(talk.a)
        talk.run(1.0)
    assert talk.a.endpoint.sessions.counts()["sessions"] == 4
    assert talk.b.endpoint.sessions.counts()["sessions"] == 4
    assert talk.a.session.index == talk.b.session.remote_index
    talk.send(talk.a, talk.a.packet(1))
    talk.run(1.0)
    assert len(talk.b.packets) == 1
