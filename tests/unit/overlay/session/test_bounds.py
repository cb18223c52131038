# SPDX-License-Identifier: Apache-2.0
"""Tables that a stranger can fill, and do not grow."""

from collections.abc import Iterator
from random import Random

import pytest

from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.dialling import MAX_ATTEMPTS, MAX_REDIALS
from pineconed.overlay.session.half_open import MAX_HALF_OPEN
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.message import RESPONSE_LIMIT
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.session import Session
from pineconed.overlay.session.table import MAX_SESSIONS, SessionTable
from tests.unit.overlay.conversation import Conversation, lost, one_more
from tests.unit.overlay.hostile import frame_of, invented
from tests.unit.overlay.packets import ipv6


def test_half_open_handshakes_are_bounded_and_never_touch_a_session() -> None:
    talk = Conversation()
    talk.establish()
    rng = Random(6)
    template = invented(rng)
    for number in range(1500):
        init = template[:4] + number.to_bytes(4) + template[8:]
        talk.inject(talk.b, frame_of(rng.randbytes(32), talk.b, init), number / 195)
    talk.run(7.6)
    counts = talk.b.endpoint.sessions.counts()
    assert counts["half_open_handshakes"] == MAX_HALF_OPEN
    assert counts["sessions"] == 1
    assert talk.b.drops["half_open_evicted"] > 300
    assert len(talk.b.endpoint.sessions.context.indices.owners) == MAX_HALF_OPEN + 1
    talk.send(talk.a, talk.a.packet(1))
    talk.run(0.1)
    assert len(talk.b.packets) == 1
    talk.run(20.0)
    assert talk.b.endpoint.sessions.counts()["half_open_handshakes"] == 0


def test_an_evicted_finished_handshake_leaves_its_session() -> None:
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(0.3)
    table = talk.b.endpoint.sessions._responder.half_open
    context = talk.b.endpoint.sessions.context
    assert talk.b.session.answer is not None
    party = context.party
    init = Initiation(party, 1, talk.now).message
    for number in range(MAX_HALF_OPEN):
        answer = object.__new__(Answer)
        for name, value in {
            "init": init + number.to_bytes(4),
            "index": 10**9 + number,
            "source_key": talk.a.key,
            "session": None,
            "expires_at": talk.now + 10,
        }.items():
            setattr(answer, name, value)
        table.add(answer)
    assert talk.b.session.answer is None
    assert talk.b.drops == {}


@pytest.fixture
def quick_inits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test a thousand key pairs."""
    cheap = Initiation(Conversation().a.endpoint.sessions.context.party, 1, 0.0)

    def quick(self: Initiation, party: Party, index: int, now: float) -> None:
        for name in Initiation.__slots__:
            setattr(self, name, getattr(cheap, name))
        self.index = index
        self.begun_at = now

    monkeypatch.setattr(Initiation, "__init__", quick)


@pytest.mark.usefixtures("quick_inits")
def test_attempts_are_bounded() -> None:
    talk = Conversation()
    talk.wire = lost
    dialler = talk.a.endpoint.sessions.dialler
    rng = Random(1)
    for _ in range(MAX_ATTEMPTS + 10):
        dialler.dial(rng.randbytes(15), bytes(40), talk.now)
    assert talk.a.endpoint.sessions.counts()["dialling"] == MAX_ATTEMPTS
    assert talk.a.drops == {"out_waiting_full": 10}
    dialler.redial(rng.randbytes(15), talk.now)
    assert talk.a.endpoint.sessions.counts()["dialling"] == MAX_ATTEMPTS


def test_peers_that_fall_silent_leave_room_for_dials() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    context = talk.b.endpoint.sessions.context
    for number in range(MAX_ATTEMPTS + 10):
        context.note_sent(one_more(talk, talk.b, number), 1, 100, talk.now)
    talk.run(10.0)
    assert talk.b.endpoint.sessions.counts()["dialling"] == MAX_REDIALS
    talk.send(talk.b, ipv6(talk.b.address, talk.a.address[:15] + b"x"))
    assert talk.b.endpoint.sessions.counts()["dialling"] == MAX_REDIALS + 1


def test_a_response_longer_than_any_is_not_kept() -> None:
    talk = Conversation()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    init = talk.traffic()[-1][2].payload
    for _ in range(3):
        bogus = b"\2\0\0\0" + init[4:8] + talk.rng.randbytes(RESPONSE_LIMIT - 7)
        talk.inject(talk.a, frame_of(talk.b.key, talk.a, bogus))
    talk.run(0.01)
    assert talk.a.drops == {"message_malformed": 3}


def test_sessions_are_bounded_and_unused_ones_go_first() -> None:
    talk = Conversation()
    talk.establish()
    context = talk.b.endpoint.sessions.context
    real = talk.b.session
    for number in range(MAX_SESSIONS - 1):
        one_more(talk, talk.b, number)
    first, second = [context.table.newest[number.to_bytes(4) + bytes(11)] for number in (0, 1)]
    context.note_received(first, 1, 100, talk.now + 1)
    assert context.table.count == MAX_SESSIONS
    one_more(talk, talk.b, 10**6)
    assert context.table.count == MAX_SESSIONS
    assert second.prefix not in context.table.newest
    assert first.prefix in context.table.newest
    assert talk.b.drops == {"session_evicted": 1}
    for session in list(context.table):
        if not session.carried_packets:
            context.note_received(session, 1, 100, talk.now + 2)
    one_more(talk, talk.b, 10**6 + 1)
    assert real.prefix not in context.table.newest
    one_more(talk, talk.b, 10**6 + 2)
    assert first.prefix in context.table.newest  # the one before it had carried nothing yet


def test_making_room_does_not_look_at_every_session_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Conversation()
    talk.establish()
    context = talk.b.endpoint.sessions.context
    looks = 0
    every = SessionTable.__iter__

    def counted(table: SessionTable) -> Iterator[Session]:
        nonlocal looks
        looks += 1
        return every(table)

    monkeypatch.setattr(SessionTable, "__iter__", counted)
    sessions = []
    for number in range(MAX_SESSIONS + 100):
        talk.now += 0.001
        sessions.append(one_more(talk, talk.b, number))
        context.note_received(sessions[-1], 1, 100, talk.now)
        if number == MAX_SESSIONS:
            context.note_received(sessions[5], 1, 100, talk.now)
            context.table.remove(sessions[7])
    gone = {number for number, session in enumerate(sessions) if session.prefix not in context.table.newest}
    assert gone == set(range(101)) - {5}
    assert looks <= 3
