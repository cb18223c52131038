# SPDX-License-Identifier: Apache-2.0
"""Answering the handshakes that others begin.

An INIT proves nothing: it is answered, within a budget, and touches nothing of ours. A CONFIRM that is
believed proves the session at once.
"""

from typing import NamedTuple

from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import KEEPALIVE
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.half_open import HalfOpenTable
from pineconed.overlay.session.handshake_queue import HandshakeQueue
from pineconed.overlay.session.items import Items
from pineconed.overlay.session.known_peers import usable_coords
from pineconed.overlay.session.lifecycle import Lifecycle
from pineconed.overlay.session.message import INIT_LENGTH, decode_header
from pineconed.overlay.session.plaintext import read_batch
from pineconed.overlay.session.port_budget import PortBudget
from pineconed.overlay.session.session import Session
from pineconed.wire.coordinates import Coords
from pineconed.wire.errors import CodecError

RESPONSES_AT_ONCE = 4
"""How often one INIT is answered without looking at the clock."""

RESPONSE_INTERVAL = 1.0
"""Seconds between further answers to it."""


class _Init(NamedTuple):
    """An INIT without padding, and what its frame claims."""

    source_key: bytes
    source_coords: bytes
    message: bytes


class Responder:
    """The handshakes that wait for CONFIRM."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self.half_open = HalfOpenTable(context.indices, context.drops)
        self._context = context
        self._lifecycle = lifecycle
        self._inits: HandshakeQueue[_Init] = HandshakeQueue(PortBudget())

    def handle_init(
        self, source_key: bytes, source_coords: bytes, message: bytes, port: int, now: float
    ) -> None:
        """Answer an INIT that came by the peering at `port`, now or when the budget allows.

        One that was answered gets the same answer again.
        """
        context = self._context
        if len(message) != INIT_LENGTH:
            context.drop(SessionDrop.MESSAGE_MALFORMED)
            return
        if source_key == context.party.identity.public_key:
            context.drop(SessionDrop.INIT_REFUSED)
            return
        init = message[: context.party.init_length]
        answer = self.half_open.find(source_key, init)
        if answer is not None:
            self._respond(answer, None, now)
            return
        if self._inits.offer(port, (source_key, init), _Init(source_key, source_coords, init), now):
            context.drop(SessionDrop.INIT_OVER_BUDGET)
        self.answer_admitted(now, port)

    def answer_admitted(self, now: float, port: int | None = None) -> None:
        """Answer the INITs, by `port` if given, whose turn it is; along the snake if they came again."""
        for init, repeated in self._inits.admitted(now, port):
            self._answer(init, b"" if repeated else init.source_coords, now)

    def deadline(self) -> float:
        """When `answer_admitted` is due; infinity if never."""
        return self._inits.deadline()

    def _answer(self, asked: _Init, coords: bytes, now: float) -> None:
        context = self._context
        source_key, init = asked.source_key, asked.message
        party, index, own_coords = context.party, context.indices.draw(), context.forwarder.source_coords
        try:
            answer = Answer(party, source_key, init, index, own_coords, now)
        except CodecError as error:
            context.refuse(SessionDrop.INIT_REFUSED, source_key, str(error), now)
            return
        self.half_open.add(answer)
        self._respond(answer, usable_coords(coords), now)

    def _respond(self, answer: Answer, coords: Coords | None, now: float) -> None:
        """Send a RESPONSE; not as often as anybody asks, because it goes to whomever the INIT names."""
        if answer.times_sent >= RESPONSES_AT_ONCE and now < answer.sent_at + RESPONSE_INTERVAL:
            self._context.drop(SessionDrop.INIT_REPEATED)
            return
        answer.times_sent += 1
        answer.sent_at = now
        self._context.post(answer.source_key, coords, answer.response, now)

    def handle_confirm(self, source_key: bytes, message: bytes, now: float) -> None:
        """Read a CONFIRM that came as a frame's payload; a repeated one is only answered again."""
        context = self._context
        owner = context.indices.owners.get(decode_header(message)[1])
        answer = owner.answer if isinstance(owner, Session) else owner
        if not isinstance(answer, Answer) or answer.inside:
            context.drop(SessionDrop.CONFIRM_UNEXPECTED)
        elif source_key != answer.source_key:
            context.drop(SessionDrop.CONFIRM_FOREIGN_KEY)
        elif answer.session is None:
            self._believe(answer, message, now)
        elif message == answer.confirm:
            context.send_inside(answer.session, KEEPALIVE, now, along_snake=True)
        else:
            context.drop(SessionDrop.CONFIRM_UNEXPECTED)

    def _believe(self, answer: Answer, message: bytes, now: float) -> None:
        context = self._context
        try:
            session, items = answer.read_confirm(message, now)
        except CodecError as error:
            context.refuse(SessionDrop.CONFIRM_REFUSED, answer.source_key, str(error), now)
            return
        self.half_open.finish(answer)
        session.answer = answer
        self._lifecycle.adopt(session, now, answer.round_trip(now))
        if items.coords is not None and session.is_newest:
            context.known.learn_late(session.peer_key, items.coords, answer.begun_at, now)
        context.send_inside(session, KEEPALIVE, now)
        self._deliver_first(session, items, now)

    def _deliver_first(self, session: Session, items: Items, now: float) -> None:
        """The packet that came with CONFIRM: one, and like any other."""
        context = self._context
        if items.packet is None:
            return
        packets = context.delivered
        before = len(packets)
        flaw = read_batch(items.packet, session.addresses, packets)
        if flaw is not None or len(packets) - before != 1:
            del packets[before:]
            context.drop(flaw or SessionDrop.PLAINTEXT_MALFORMED, session)
            return
        context.note_received(session, 1, len(items.packet), now)
