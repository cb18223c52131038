# SPDX-License-Identifier: Apache-2.0
"""Handshake messages that are held back on their way, and released when things have changed."""

import pytest

from pineconed.overlay.session.initiation import FAILS_AFTER
from pineconed.wire.coordinates import Coords
from tests.unit.overlay.conversation import (
    CONFIRM,
    DATA,
    INIT,
    LATENCY,
    RESPONSE,
    Conversation,
    Deliveries,
    Side,
    decoded,
    prompt,
    times,
)


class Holding:
    """A wire that keeps the frames with this first payload byte until they are released."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.held: list[tuple[Side, bytes]] = []

    def __call__(self, side: Side, frame: bytes) -> Deliveries:
        if decoded(frame).payload[0] != self.kind:
            return prompt(side, frame)
        self.held.append((side, frame))
        return []

    def release(self, talk: Conversation) -> None:
        """Let the first of them arrive, and all others from now on."""
        side, frame = self.held[0]
        talk.wire = prompt
        talk.inject(side.peer, frame)


def _believed(talk: Conversation, side: Side) -> Coords | None:
    return side.endpoint.sessions.context.known.coords(side.peer.key[:15], talk.now)


def _redial(talk: Conversation, side: Side) -> None:
    side.endpoint.sessions.dialler.redial(side.peer.key[:15], talk.now)
    talk._after(side)


@pytest.mark.parametrize("kind", [RESPONSE, CONFIRM])
def test_coords_in_a_handshake_message_held_back_do_not_redirect_answers(kind: int) -> None:
    """Node a dials b anew; its author moves and says so by the old session; then the message comes."""
    talk = Conversation()
    talk.establish()
    wire = Holding(kind)
    talk.wire = wire
    _redial(talk, talk.a)
    talk.run(0.2)
    mover = talk.b if kind == RESPONSE else talk.a
    talk.move(mover, (8,))
    talk.run(0.2)
    assert _believed(talk, mover.peer) == (8,)
    sessions = talk.a.session, talk.b.session
    wire.release(talk)
    talk.run(0.0)
    assert _believed(talk, mover.peer) is None
    talk.run(1.0)
    assert (talk.a.session, talk.b.session) != sessions
    talk.frames.clear()
    talk.send(mover.peer, mover.peer.packet(1))
    assert talk.traffic()[0][2].destination in ((), (8,))
    talk.send(mover, mover.packet(2))
    talk.run(1.0)
    assert _believed(talk, talk.a) == talk.b.coords
    assert _believed(talk, talk.b) == talk.a.coords


def test_a_dial_from_a_new_place_succeeds_though_an_old_frame_is_released_within_it() -> None:
    """Node a restarts elsewhere, and b hears of the old place once more before CONFIRM names the new one."""
    talk = Conversation()
    talk.establish()
    wire = Holding(DATA)
    talk.wire = wire
    talk.send(talk.a, talk.a.packet(7))
    talk.restart(talk.a)
    talk.move(talk.a, (8,))
    packet = talk.a.packet(1)
    began = talk.now
    talk.send(talk.a, packet)

    def nothing_to_the_old_place(side: Side, frame: bytes) -> Deliveries:
        return [] if decoded(frame).destination == (1,) else prompt(side, frame)

    talk.wire = nothing_to_the_old_place
    side, frame = wire.held[0]
    talk.inject(side.peer, frame, LATENCY * 2)
    talk.run(0.4)
    assert sorted(talk.b.packets) == sorted([packet, talk.a.packet(7)])
    assert talk.a.session.proven_at - began == pytest.approx(4 * LATENCY)
    assert _believed(talk, talk.b) is None
    talk.run(0.2)
    assert _believed(talk, talk.b) == (8,), "the move is told again half a second after it"


@pytest.mark.parametrize("late", [7.2, 9.0, 9.9])
def test_a_confirm_is_not_believed_when_its_sender_may_have_given_up(late: float) -> None:
    talk = Conversation()
    talk.establish()
    wire = Holding(CONFIRM)
    talk.wire = wire
    _redial(talk, talk.a)
    talk.run(late)
    before = talk.b.session
    wire.release(talk)
    talk.run(1.0)
    assert talk.b.session is before
    assert talk.b.drops["confirm_refused"] == 1


@pytest.mark.parametrize("held_before", [0.0, 3.0, 7.2])
@pytest.mark.parametrize("late", [2.0, 5.0, 6.9])
def test_a_confirm_that_is_believed_makes_a_session_that_its_sender_has(
    late: float, held_before: float
) -> None:
    """However late in the attempt its INIT was answered."""
    talk = Conversation()
    talk.establish()
    inits = Holding(INIT)
    talk.wire = inits
    _redial(talk, talk.a)
    talk.run(held_before)
    wire = Holding(CONFIRM)
    talk.wire = wire
    side, frame = inits.held[0]
    talk.inject(side.peer, frame)
    talk.run(late)
    before = talk.a.session
    wire.release(talk)
    talk.run(0.1)
    assert talk.b.session.index == talk.a.session.remote_index
    assert talk.a.session is not before
    packets = [talk.b.packet(number) for number in range(3)]
    talk.send(talk.b, *packets)
    talk.run(1.0)
    assert talk.a.packets == packets


def test_an_attempt_with_an_answer_lasts_as_long_again() -> None:
    talk = Conversation()
    talk.wire = lambda side, frame: [] if decoded(frame).payload[0] == CONFIRM else prompt(side, frame)
    talk.send(talk.a, talk.a.packet())
    talk.run(2 * LATENCY + FAILS_AFTER - 0.01)
    assert talk.a.errors == []
    talk.run(0.02)
    assert talk.a.errors == [(1, 3)]
    assert [when - 2 * LATENCY for when in times(talk, talk.a, CONFIRM)] == pytest.approx(
        [0.0, 0.5, 1.0, 2.0]
    )
