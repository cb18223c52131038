# SPDX-License-Identifier: Apache-2.0
"""The beginning and the end of sessions."""

from pineconed.clock import NEVER
from pineconed.overlay.events import SessionDown, SessionUp
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.dialling import Dialler
from pineconed.overlay.session.session import Session


class Lifecycle:
    """Takes sessions in once they are proven, and lets them go."""

    def __init__(self, context: Context, dialler: Dialler) -> None:
        self._context = context
        self._dialler = dialler

    def adopt(self, session: Session, now: float, round_trip: float | None) -> None:
        """A session is proven: use it. Nothing that was there before ends by it, but for want of room.

        `round_trip` is what the handshake showed of it, in seconds.
        """
        context = self._context
        current = context.table.newest.get(session.prefix)
        if current is None:
            context.events.append(SessionUp(session.peer_key, session.cipher.name, session.initiator))
        else:
            session.tally = current.tally
            session.hinted_at = current.hinted_at
        for evicted in context.table.add(session, now):
            self._clear(evicted, "made room for another")
        session.tally.last_heard = now
        if round_trip is not None:
            session.tally.rtt = round_trip
        context.timers.arm(session, session.due())
        self._dialler.settle(session)

    def drop(self, session: Session, reason: str) -> None:
        """Forget a session."""
        self._context.table.remove(session)
        self._clear(session, reason)

    def _clear(self, session: Session, reason: str) -> None:
        """Let go of what belongs to a session that has left the table."""
        context = self._context
        context.timers.arm(session, NEVER)
        for handshake in (session.rekey, session.rekey_answer):
            if handshake is not None:
                context.indices.release(handshake)
        session.rekey = session.rekey_answer = None
        if not context.table.of_peer(session.prefix):
            context.events.append(SessionDown(session.peer_key, reason))
