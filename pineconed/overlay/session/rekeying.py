# SPDX-License-Identifier: Apache-2.0
"""Renewing keys inside a session: the same handshake, carried by DATA, so nobody between can disturb it."""

from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import KEEPALIVE, Kind
from pineconed.overlay.session.initiation import MAX_RESPONSES, Initiation
from pineconed.overlay.session.lifecycle import Lifecycle
from pineconed.overlay.session.message import MessageType, decode_header
from pineconed.overlay.session.session import Session
from pineconed.wire.errors import CodecError

PAUSE = 1.0
"""Seconds from a renewal that failed to the next."""

MAX_IN_TIME = 12
"""Renewals that a peer may ask for in the time after which one is due; they cost as much as any handshake."""

_REKEY = bytes((Kind.REKEY,))


class Rekeying:
    """Both sides of renewals. A session has at most one that we began and one that the peer began."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self._context = context
        self._lifecycle = lifecycle

    # As initiator

    def begin(self, session: Session, now: float) -> None:
        """Begin to renew a session."""
        context = self._context
        rekey = session.rekey = Initiation(context.party, context.indices.draw(), now)
        context.indices.owners[rekey.index] = rekey
        self._send(session, rekey.next_message(), now)

    def handle_timer(self, session: Session, now: float) -> None:
        """Send again what was not answered, or give up for now."""
        rekey = session.rekey
        if not isinstance(rekey, Initiation):
            return
        if rekey.failed(now):
            self._end(session, rekey)
            session.rekey_at = now + PAUSE
        elif now >= rekey.due():
            self._send(session, rekey.next_message(), now)

    def settle(self, session: Session, rekey: Initiation, now: float) -> None:
        """The peer has proved the session that `rekey` led to."""
        for carrier in self._context.table.of_peer(session.prefix):
            if carrier.rekey is rekey:
                carrier.rekey = None
        self._lifecycle.adopt(session, now, rekey.round_trip(now))

    def _end(self, session: Session, rekey: Initiation) -> None:
        self._context.indices.release(rekey)
        session.rekey = None

    # Both sides

    def handle(self, session: Session, message: bytes, now: float) -> None:
        """A rekey message came by `session`; CodecError when it is refused."""
        message_type, index = decode_header(message)
        rekey, answer = session.rekey, session.rekey_answer
        if message_type == MessageType.INIT:
            self._answer(session, message, now)
        elif message_type == MessageType.RESPONSE and isinstance(rekey, Initiation) and index == rekey.index:
            self._confirm(session, rekey, message, now)
        elif message_type == MessageType.CONFIRM and isinstance(answer, Answer) and index == answer.index:
            self._finish(answer, message, now)
        else:
            raise CodecError("rekey message that belongs to nothing")

    def _confirm(self, session: Session, rekey: Initiation, message: bytes, now: float) -> None:
        if rekey.session is not None or rekey.tried >= MAX_RESPONSES:
            raise CodecError("RESPONSE that was not asked for")
        response = rekey.read_response(session.peer_key, message)
        rekey.accept(response, self._context.forwarder.source_coords, None, now)
        self._send(session, rekey.next_message(), now)

    # As responder

    def _answer(self, session: Session, init: bytes, now: float) -> None:
        context = self._context
        answer = session.rekey_answer
        if not isinstance(answer, Answer) or answer.init != init:
            if now - session.tally.rekey_answered_at < context.party.timing.rekey_after / MAX_IN_TIME:
                raise CodecError("too many renewals")
            session.tally.rekey_answered_at = now
            own_coords = context.forwarder.source_coords
            index = context.indices.draw()
            new = Answer(context.party, session.peer_key, init, index, own_coords, now, inside=True)
            if answer is not None:
                context.indices.release(answer)
            answer = session.rekey_answer = context.indices.owners[index] = new
        answer.times_sent += 1
        self._send(session, answer.response, now)

    def _finish(self, answer: Answer, message: bytes, now: float) -> None:
        if answer.session is None:
            new, _ = answer.read_confirm(message, now)
            self._lifecycle.adopt(new, now, answer.round_trip(now))
        elif message != answer.confirm:
            raise CodecError("CONFIRM of a renewal that is done")
        renewed = answer.session
        if renewed is not None and self._context.indices.owners.get(renewed.index) is renewed:
            self._context.send_inside(renewed, KEEPALIVE, now)

    def _send(self, session: Session, message: bytes, now: float) -> None:
        self._context.send_inside(session, _REKEY + message, now)
        self._context.timers.arm(session, session.due())
