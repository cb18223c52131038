# SPDX-License-Identifier: Apache-2.0
"""What the parts of the session layer share, and how they send and report."""

from collections import deque

from pineconed.clock import NEVER
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.overlay.events import HandshakeRefused, OverlayEvent
from pineconed.overlay.flow import FlowHash
from pineconed.overlay.session.drops import Drops, SessionDrop
from pineconed.overlay.session.indices import Indices
from pineconed.overlay.session.known_peers import KnownPeers
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.session import PROBE_INTERVAL, Session
from pineconed.overlay.session.table import SessionTable
from pineconed.overlay.session.timers import Timers
from pineconed.overlay.session.waiting import Outgoing
from pineconed.rate import TokenBucket
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords
from pineconed.wire.keys import KEY_PREFIX_LENGTH

CONTROL_EXTRA = 0
"""The `extra` byte of everything that carries no packets."""

ECHO_QUEUE = 0
"""Echo replies share one of our own queues: a peer that floods us with requests delays only these."""

MAX_EVENTS = 1024
"""Events that wait to be taken; beyond that the oldest are forgotten."""

_REFUSALS_TOLD = 1 / 60


class Context:
    """The tables, and the outputs: whoever calls into this room takes them afterwards.

    delivered: packets for the TUN device. released: packets that may now be sent. unreachable: packets whose
    destination did not answer. events: what happened.
    """

    def __init__(self, party: Party, forwarder: Forwarder, flows: FlowHash) -> None:
        self.party = party
        self.forwarder = forwarder
        self.drops = Drops()
        self.indices = Indices(party.entropy)
        self.known = KnownPeers()
        self.table = SessionTable(self.indices, self.drops)
        self.timers: Timers[Session] = Timers()
        self.delivered: list[Delivery] = []
        self.released: list[Outgoing] = []
        self.unreachable: list[Outgoing] = []
        self.events: deque[OverlayEvent] = deque(maxlen=MAX_EVENTS)
        self._flows = flows
        self._refusals = TokenBucket(_REFUSALS_TOLD, 1)

    # Sending

    def post(self, key: bytes, coords: Coords | None, message: Buffer, now: float) -> SendResult:
        """Send a message that is no DATA; without coords it goes along the snake."""
        return self.forwarder.send(key, coords, message, self._queue(key), CONTROL_EXTRA, now)

    def send_inside(
        self, session: Session, plaintext: bytes, now: float, *, along_snake: bool = False
    ) -> SendResult:
        """Send one control plaintext in a session, to where the peer is known to be or along the snake."""
        coords = None if along_snake else self.known.coords(session.prefix, now)
        return self._send_sealed(session, plaintext, coords, self._queue(session.peer_key), now)

    def send_echo_reply(self, session: Session, plaintext: bytes, now: float) -> SendResult:
        """Send what a peer has us send, as much of it as the peer likes."""
        return self._send_sealed(session, plaintext, self.known.coords(session.prefix, now), ECHO_QUEUE, now)

    def _send_sealed(
        self, session: Session, plaintext: bytes, coords: Coords | None, queue: int, now: float
    ) -> SendResult:
        message = session.seal(plaintext, self.forwarder.source_coords, now)
        return self.forwarder.send(session.peer_key, coords, message, queue, CONTROL_EXTRA, now)

    def _queue(self, key: bytes) -> int:
        """Each peer's, so that what one of them has us send does not put out what is for another."""
        return self._flows.of_identity(key[:KEY_PREFIX_LENGTH])[0]

    # What a session carries

    def note_sent(self, session: Session, packets: int, size: int, now: float) -> None:
        """Count IP packets that were queued, and look after a while whether the peer is heard."""
        session.tally.note_sent(packets, size, now)
        if not session.carried_packets:
            self.table.carried_packet(session)
        self.expect_answer(session, now)

    def expect_answer(self, session: Session, now: float) -> None:
        """Something was sent that a peer answers: look after a while whether it is heard."""
        if session.unanswered_since == NEVER:
            session.unanswered_since = now
            if session.timer_at > now + PROBE_INTERVAL:
                self.timers.arm(session, now + PROBE_INTERVAL)

    def note_received(self, session: Session, packets: int, size: int, now: float) -> None:
        """Count IP packets that are delivered."""
        session.tally.note_received(packets, size, now)
        if not session.carried_packets:
            self.table.carried_packet(session)

    # Reporting

    def drop(self, cause: SessionDrop, session: Session | None = None) -> None:
        """Count a drop, also against the peer if it came by its session."""
        self.drops.count(cause)
        if session is not None:
            drops = session.tally.drops
            drops[cause] = drops.get(cause, 0) + 1

    def refuse(self, cause: SessionDrop, source_key: bytes, reason: str, now: float) -> None:
        """Count a handshake message that was refused, and tell of it now and then."""
        self.drops.count(cause)
        if not self._refusals.spend(1, now):
            self.events.append(HandshakeRefused(source_key, reason))
