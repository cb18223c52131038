# SPDX-License-Identifier: Apache-2.0
"""Peers that restart, fall silent, move or close; pings and snapshots."""

import pytest

from pineconed.clock import NEVER
from pineconed.dataplane.forward import SendResult
from pineconed.overlay.events import EchoAnswered, SessionDown
from pineconed.overlay.session.moving import MoveNotices
from tests.unit.overlay.conversation import (
    CONFIRM,
    DATA,
    INIT,
    LATENCY,
    RESPONSE,
    UNKNOWN,
    Conversation,
    Deliveries,
    Side,
    kinds,
    lost,
    prompt,
    times,
)


def test_a_peer_that_restarts_is_back_at_once() -> None:
    talk = Conversation()
    talk.establish()
    talk.restart(talk.b)
    lost_packet, packet = talk.a.packet(1), talk.a.packet(2)
    talk.send(talk.a, lost_packet)
    talk.run(1.0)
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert kinds(talk, talk.a) == [DATA, INIT, CONFIRM, DATA]
    assert kinds(talk, talk.b) == [UNKNOWN, RESPONSE, DATA]


def test_a_peer_that_restarts_and_speaks_first_is_back_at_once() -> None:
    talk = Conversation()
    talk.establish()
    talk.restart(talk.b)
    packet, answer = talk.b.packet(1), talk.a.packet(2)
    talk.send(talk.b, packet)
    talk.run(1.0)
    talk.send(talk.a, answer)
    talk.run(1.0)
    assert talk.a.packets == [packet]
    assert talk.b.packets == [answer]
    assert talk.a.session.index == talk.b.session.remote_index


def test_a_hint_is_followed_once_in_five_seconds() -> None:
    talk = Conversation()
    talk.establish()
    talk.restart(talk.b)
    talk.wire = lambda side, frame: [] if frame[-1400:-1396] == b"\x01\0\0\0" else prompt(side, frame)
    for number in range(100):
        talk.send(talk.a, talk.a.packet(number))
        talk.run(0.1)
    inits = times(talk, talk.a, INIT)
    assert [round(when - inits[0], 6) for when in inits] == [n / 2 for n in range(15)] + [8.9, 9.4, 9.9]
    assert talk.a.drops["hint_ignored"] > 80


def test_a_silent_peer_is_asked_looked_for_and_dialled() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    sent_at = talk.now
    talk.send(talk.a, talk.a.packet())
    talk.run(30.0)
    frames = [(round(when - sent_at, 6), frame) for when, _, frame in talk.traffic()]
    assert [(when, frame.payload[0]) for when, frame in frames] == [
        (0.0, DATA),
        (3.0, DATA),
        (6.0, DATA),
        *((9 + n / 2, INIT) for n in range(15)),
    ]
    assert frames[0][1].destination == (2,)
    assert all(frame.destination == () for _, frame in frames[1:])
    assert frames[3][1].destination_key == talk.b.key
    assert talk.a.session is not None


def test_an_echo_proves_that_the_peer_is_there() -> None:
    talk = Conversation()
    talk.establish()
    sent_at = talk.now
    for _ in range(20):
        talk.send(talk.a, talk.a.packet())
        talk.run(1.0)
    asked = [round(when - sent_at, 6) for when, _ in talk.messages(talk.a)]
    assert 3.0 in asked
    assert INIT not in kinds(talk, talk.a)
    assert talk.a.session.tally.rtt == pytest.approx(2 * LATENCY)
    assert talk.a.session.tally.last_heard > talk.now - 4


def test_answers_on_another_session_count_too() -> None:
    talk = Conversation()
    talk.establish()
    old = talk.b.session
    talk.a.endpoint.sessions.dialler.redial(talk.b.key[:15], talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    context = talk.b.endpoint.sessions.context
    talk.frames.clear()
    talk.send(talk.a, talk.a.packet())
    talk.run(1.0)
    assert talk.a.session.unanswered_since != NEVER
    context.send_inside(old, b"", talk.now)
    talk._after(talk.b)
    talk.run(1.0)
    assert talk.a.session.unanswered_since == NEVER


def by_current_coords(side: Side, frame: bytes) -> Deliveries:
    """A wire on which frames to where a node was before do not arrive."""
    stale = frame[10 + 2 + 2 : 10 + 2 + 3] if frame[12:14] == b"\0\1" else b""
    return [] if stale and stale != bytes(side.peer.coords) else prompt(side, frame)


def test_both_move_at_once() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = by_current_coords
    talk.move(talk.a, (8,))
    talk.move(talk.b, (9,))
    talk.run(0.4)
    # Nobody is closer to where a was: what b sends there goes along the snake at once.
    assert [frame.destination for _, _, frame in talk.traffic()] == [(), (2,), (), ()]
    talk.frames.clear()
    talk.send(talk.a, talk.a.packet(1))
    talk.send(talk.b, talk.b.packet(2))
    talk.run(0.05)
    assert len(talk.a.packets) == len(talk.b.packets) == 1
    assert [frame.destination for _, _, frame in talk.traffic()] == [(9,), (8,)]


def test_peers_are_told_of_a_move_again_until_the_snake_has_followed() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    began = talk.now
    talk.move(talk.a, (8,))
    talk.run(10.0)
    told = [(round(when - began, 6), frame.destination) for when, _, frame in talk.traffic()]
    assert told == [(when, to) for when in (0.0, 0.5, 1.0, 2.0) for to in ((), (2,))]
    assert {frame.source for _, _, frame in talk.traffic()} == {(8,)}


def test_another_move_begins_the_repeats_anew() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    began = talk.now
    talk.move(talk.a, (8,))
    talk.run(0.7)
    talk.move(talk.a, (9,))
    talk.run(10.0)
    told = [(round(when - began, 6), frame.source) for when, _, frame in talk.traffic()][::2]
    assert told[:2] == [(0.0, (8,)), (0.5, (8,))]
    assert told[2:] == [(when, (9,)) for when in (0.7, 1.2, 1.7, 2.7)]


def test_many_peers_are_told_of_a_move_one_after_the_other() -> None:
    talk = Conversation()
    talk.establish()
    moves = talk.a.endpoint.sessions._moves
    talk.a.endpoint.sessions.tell_move(talk.now)
    for _ in range(4):
        moves._tell_all(talk.now)
    assert moves.deadline() == talk.now + 0.5
    moves._tell_all(talk.now)
    assert moves.deadline() == pytest.approx(talk.now + 0.01)
    talk._after(talk.a)
    talk.run(0.4)
    assert len(talk.frames) == 6 * 2
    talk.run(2.0)
    assert moves.deadline() == NEVER
    assert len(talk.frames) == 9 * 2
    talk.a.endpoint.sessions.tell_move(talk.now)
    for _ in range(5):
        moves._tell_all(talk.now)
    talk.a.endpoint.sessions.close(talk.now)
    talk._after(talk.a)
    talk.run(2.5)
    assert moves.deadline() == NEVER


def test_peers_without_recent_traffic_are_not_told_of_a_move() -> None:
    talk = Conversation()
    talk.establish()
    talk.run(61.0)
    talk.move(talk.a, (8,))
    talk.run(1.0)
    assert talk.frames == []


@pytest.mark.parametrize("mover", ["who asked", "who was asked"])
def test_peers_with_recent_echoes_are_told_of_a_move(mover: str) -> None:
    talk = Conversation()
    talk.establish()
    talk.run(61.0)
    talk.ping(talk.a, b"before")
    talk.run(1.0)
    talk.frames.clear()
    talk.wire = by_current_coords
    side = talk.a if mover == "who asked" else talk.b
    talk.move(side, (8,))
    talk.run(0.4)
    told = [(sender, frame.destination) for _, sender, frame in talk.traffic()]
    assert told[0] == (side, ())
    assert {sender for sender, _ in told} == {side}
    talk.ping(talk.a, b"after")
    talk.run(1.0)
    assert [event.data for event in talk.a.events if isinstance(event, EchoAnswered)] == [b"before", b"after"]


def test_an_echo_that_is_not_answered_is_asked_along_the_snake() -> None:
    """So the next one of the operator's reaches a peer that has moved while nobody talked."""
    talk = Conversation()
    talk.establish()
    talk.ping(talk.a, b"one")
    talk.run(50.0)
    talk.frames.clear()
    talk.wire = by_current_coords
    talk.b.coords = (9,)
    talk.b.connect()
    talk.ping(talk.a, b"two")
    talk.run(5.0)
    assert [frame.destination for _, sender, frame in talk.traffic() if sender is talk.a] == [(2,), ()]
    talk.ping(talk.a, b"three")
    talk.run(1.0)
    assert [event.data for event in talk.a.events if isinstance(event, EchoAnswered)] == [b"one", b"three"]


def test_a_node_without_coords_is_reached_along_the_snake() -> None:
    talk = Conversation()
    talk.establish()
    talk.move(talk.b, ())
    talk.run(1.0)
    talk.send(talk.a, talk.a.packet(1))
    assert talk.traffic()[-1][2].destination == ()


def test_coords_of_another_tree_are_forgotten() -> None:
    talk = Conversation()
    talk.establish()
    talk.a.endpoint.sessions.forget_coords()
    talk.send(talk.a, talk.a.packet(1))
    assert talk.traffic()[-1][2].destination == ()
    [snapshot] = talk.pictures(talk.a)
    assert snapshot.path == "snake"


def test_a_known_peer_is_dialled_by_its_whole_key_and_coords() -> None:
    talk = Conversation()
    talk.establish()
    talk.a.endpoint.sessions.close(talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    talk.frames.clear()
    talk.send(talk.a, talk.a.packet(1))
    talk.run(0.6)
    init = talk.traffic()[0][2]
    assert (init.destination_key, init.destination) == (talk.b.key, (2,))


def test_closing_ends_the_session_at_both_ends() -> None:
    talk = Conversation()
    talk.establish()
    talk.a.endpoint.sessions.close(talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    for side in (talk.a, talk.b):
        assert side.endpoint.sessions.counts()["sessions"] == 0
    assert talk.a.events[-1] == SessionDown(talk.b.key, "closed by this host")
    assert talk.b.events[-1] == SessionDown(talk.a.key, "closed by the peer")
    packet = talk.b.packet(1)
    talk.send(talk.b, packet)
    talk.run(1.0)
    assert talk.a.packets == [packet]


def test_closing_one_of_several_sessions_leaves_the_others() -> None:
    talk = Conversation()
    talk.establish()
    old = talk.a.session
    talk.a.endpoint.sessions.dialler.redial(talk.b.key[:15], talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    newer = talk.a.session
    assert newer is not old
    talk.a.endpoint.sessions.context.send_inside(newer, b"\x03", talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert talk.b.session.remote_index == old.index
    packet = talk.b.packet(1)
    talk.send(talk.b, packet)
    talk.run(1.0)
    assert talk.a.packets == [packet]


def test_ping() -> None:
    talk = Conversation()
    assert talk.ping(talk.a, b"one") is None
    talk.run(1.0)
    assert talk.ping(talk.a, b"two") is not None
    talk.run(1.0)
    answered = talk.a.events[-1]
    assert isinstance(answered, EchoAnswered)
    assert (answered.public_key, answered.data) == (talk.b.key, b"two")
    assert answered.seconds == pytest.approx(2 * LATENCY)
    assert talk.b.inbox == []
    assert not talk.b.session.carried_packets


def test_a_ping_without_a_way_dials_nobody() -> None:
    talk = Conversation()
    talk.a.table.remove_peer(1)
    assert talk.ping(talk.a, b"one") is SendResult.NO_ROUTE
    assert talk.pictures(talk.a) == []


def test_replies_that_nobody_asked_for_are_counted() -> None:
    talk = Conversation()
    talk.establish()
    talk.b.endpoint.sessions.context.send_inside(talk.b.session, b"\x02news", talk.now)
    talk._after(talk.b)
    talk.run(1.0)
    assert talk.a.drops == {"echo_unexpected": 1}
    assert talk.a.session.tally.drops == {"echo_unexpected": 1}


def test_old_pings_are_forgotten() -> None:
    talk = Conversation()
    talk.establish()
    for number in range(1030):
        talk.a.endpoint.sessions.ping(talk.b.key[:15], number.to_bytes(2), talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    answered = [event.data for event in talk.a.events if isinstance(event, EchoAnswered)]
    assert answered == [number.to_bytes(2) for number in range(6, 1030)]


def test_snapshot() -> None:
    talk = Conversation()
    talk.establish()
    talk.run(3.0)
    talk.send(talk.a, talk.a.packet(1, 52), talk.a.packet(2, 52))
    [snapshot] = talk.pictures(talk.a)
    assert snapshot.public_key == talk.b.key
    assert (snapshot.state, snapshot.path, snapshot.cipher) == ("up", "tree", "AES_256_GCM")
    assert (snapshot.hybrid, snapshot.initiator, snapshot.sessions) == (True, True, 1)
    assert (snapshot.tx_packets, snapshot.tx_bytes) == (3, 48 + 200)
    assert (snapshot.rx_packets, snapshot.rx_bytes) == (1, 48)
    assert snapshot.age_seconds == pytest.approx(8.0, abs=0.2)
    assert snapshot.last_heard_seconds == pytest.approx(4.45, abs=0.2)


def test_a_parent_that_moves_us_all_the_time_costs_few_looks_at_the_peers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = Conversation()
    talk.establish()
    looks: list[float] = []
    tell_all = MoveNotices._tell_all

    def counted(moves: MoveNotices, now: float) -> None:
        looks.append(now)
        tell_all(moves, now)

    monkeypatch.setattr(MoveNotices, "_tell_all", counted)
    for number in range(250):
        talk.move(talk.b, (2, number + 1))
        talk.run(0.002)
    assert len(looks) <= 3
    talk.run(0.3)
    assert len(looks) <= 4
    assert talk.a.endpoint.sessions.context.known.coords(talk.b.key[:15], talk.now) == (2, 250)
