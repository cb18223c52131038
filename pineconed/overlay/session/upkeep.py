# SPDX-License-Identifier: Apache-2.0
"""What is done for sessions when time passes: renewing, expiring, probing."""

from pineconed.clock import NEVER
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.dialling import Dialler
from pineconed.overlay.session.echoes import Echoes
from pineconed.overlay.session.lifecycle import Lifecycle
from pineconed.overlay.session.rekeying import Rekeying
from pineconed.overlay.session.session import PROBE_INTERVAL, Session

PROBES = 2
"""Echo requests that may stay unanswered; then the peer counts as lost where it was."""

TRAFFIC_LOOK = 5.0
"""Seconds between two looks whether a session without traffic has got some since and is to be renewed."""


class Upkeep:
    """The timers of sessions. The packet path only writes stamps; what is due looks at them."""

    def __init__(
        self, context: Context, lifecycle: Lifecycle, dialler: Dialler, rekeying: Rekeying, echoes: Echoes
    ) -> None:
        self._context = context
        self._lifecycle = lifecycle
        self._dialler = dialler
        self._rekeying = rekeying
        self._echoes = echoes

    def handle_timer(self, session: Session, now: float) -> None:
        """Do for a session all that is due."""
        if now >= min(session.expires_at, session.idle_at):
            self._lifecycle.drop(session, "not used for long")
            return
        if session.rekey is not None:
            self._rekeying.handle_timer(session, now)
        elif session.is_newest and self._is_worn(session, now):
            self._renew(session, now)
        self._probe(session, now)
        self._context.timers.arm(session, session.due())

    def _is_worn(self, session: Session, now: float) -> bool:
        messages = max(session.sent, session.window.highest + 1)
        return now >= session.rekey_at or messages >= self._context.party.timing.message_limit

    def _renew(self, session: Session, now: float) -> None:
        """Renew a session that has carried packets; without traffic it is left to expire."""
        if session.carried_packets:
            self._rekeying.begin(session, now)
        else:
            session.rekey_at = now + TRAFFIC_LOOK

    def _probe(self, session: Session, now: float) -> None:
        """Ask a peer that is silent for an echo; at last look for it elsewhere, and dial it anew."""
        context = self._context
        if now < session.unanswered_since + PROBE_INTERVAL * (session.probes + 1):
            return
        if session.probes < PROBES:
            session.probes += 1
            self._echoes.probe(session, now)
            return
        session.unanswered_since = NEVER
        session.probes = 0
        context.known.forget_coords(session.prefix)
        self._dialler.redial(session.prefix, now)
