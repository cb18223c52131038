# SPDX-License-Identifier: Apache-2.0
"""All sessions of this host behind one door.

Inputs: `inbound`, `dial`, `ping`, `tell_move`, `forget_coords`, `close` and `handle_timer`. The packet path
of the endpoint takes a session from `newest`, seals and sends by itself, and then calls `context.note_sent`.
Outputs, to be taken after every input: the lists of `context`, and `deadline`. `has_way` only looks.
"""

from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.overlay.flow import FlowHash
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import CLOSING
from pineconed.overlay.session.dialling import Dialler
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.echoes import Echoes
from pineconed.overlay.session.lifecycle import Lifecycle
from pineconed.overlay.session.message import MessageType, decode_header
from pineconed.overlay.session.moving import MoveNotices
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.receiving import Receiver
from pineconed.overlay.session.rekeying import Rekeying
from pineconed.overlay.session.responding import Responder
from pineconed.overlay.session.upkeep import Upkeep
from pineconed.overlay.session.waiting import Outgoing
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_PADDING


class Sessions:
    """The parts, put together. Times are in seconds."""

    def __init__(self, party: Party, forwarder: Forwarder, flows: FlowHash) -> None:
        self.context = Context(party, forwarder, flows)
        self.newest = self.context.table.newest
        """The session to send on, by the first 15 bytes of the peer's key; for the per-packet path."""
        self.dialler = Dialler(self.context)
        self._lifecycle = Lifecycle(self.context, self.dialler)
        self._responder = Responder(self.context, self._lifecycle)
        self._echoes = Echoes(self.context)
        self._rekeying = Rekeying(self.context, self._lifecycle)
        parts = (self.context, self._lifecycle, self.dialler, self._rekeying, self._echoes)
        self._receiver = Receiver(*parts)
        self._upkeep = Upkeep(*parts)
        self._moves = MoveNotices(self.context)

    # Inputs

    def inbound(
        self, source_key: bytes, source_coords: bytes, payload: Buffer, port: int, now: float
    ) -> None:
        """A session message: the payload of a frame that names `source_key`, by the peering at `port`.

        `source_coords` are encoded as in the frame. The payload is not kept.
        """
        try:
            if payload[0] == MessageType.DATA:
                self._receiver.handle_data(source_key, source_coords, payload, now)
            else:
                self._handle_message(source_key, source_coords, bytes(payload), port, now)
        except CodecError:
            self.context.drop(SessionDrop.MESSAGE_MALFORMED)

    def _handle_message(
        self, source_key: bytes, source_coords: bytes, message: bytes, port: int, now: float
    ) -> None:
        message_type, _ = decode_header(message)
        if message_type == MessageType.INIT:
            self._responder.handle_init(source_key, source_coords, message, port, now)
        elif message_type == MessageType.RESPONSE:
            self.dialler.handle_response(source_key, message, port, now)
        elif message_type == MessageType.CONFIRM:
            self._responder.handle_confirm(source_key, message, now)
        elif message_type == MessageType.UNKNOWN:
            self._receiver.handle_unknown(source_key, message, now)
        else:
            self.context.drop(SessionDrop.MESSAGE_UNKNOWN)

    def dial(self, prefix: bytes, packet: Outgoing, now: float) -> None:
        """Have `packet` wait for a session with the node whose key begins with these 15 bytes."""
        self.dialler.dial(prefix, packet, now)

    def ping(self, prefix: bytes, data: bytes, now: float) -> SendResult | None:
        """Ask the peer for `data` back; None without a session, which is then dialled if there is a way."""
        session = self.newest.get(prefix)
        if session is not None and now < session.expires_at:
            return self._echoes.ping(session, data, now)
        if not self.has_way(prefix, now):
            return SendResult.NO_ROUTE
        self.dialler.redial(prefix, now)
        return None

    def tell_move(self, now: float) -> None:
        """Our coords have changed: let the peers know."""
        self._moves.tell(now)

    def forget_coords(self) -> None:
        """The root is another node: nobody is where they were."""
        self.context.known.forget_all_coords()

    def close(self, now: float) -> None:
        """End every session and tell the peers."""
        for session in self.context.table:
            self.context.send_inside(session, CLOSING, now)
            self._lifecycle.drop(session, "closed by this host")

    def handle_timer(self, now: float) -> None:
        """Do all that is due."""
        self._responder.half_open.expire(now)
        self._responder.answer_admitted(now)
        self.dialler.try_admitted(now)
        if now >= self._moves.deadline():
            self._moves.handle_timer(now)
        for attempt in self.dialler.timers.due(now):
            self.dialler.handle_timer(attempt, now)
        for session in self.context.timers.due(now):
            self._upkeep.handle_timer(session, now)

    # Outputs

    def has_way(self, prefix: bytes, now: float) -> bool:
        """Whether a message to the node whose key begins so would leave this host."""
        known = self.context.known
        key = known.key_of(prefix) or prefix + KEY_PADDING
        return self.context.forwarder.first_hop_type(key, known.coords(prefix, now), now) is not None

    def deadline(self) -> float:
        """When `handle_timer` is due at the latest; infinity if never."""
        return min(
            self.context.timers.deadline(),
            self.dialler.deadline(),
            self._responder.half_open.deadline(),
            self._responder.deadline(),
            self._moves.deadline(),
        )

    def counts(self) -> dict[str, int]:
        """How full the tables are."""
        return {
            "sessions": self.context.table.count,
            "half_open_handshakes": len(self._responder.half_open),
            "dialling": len(self.dialler.attempts),
        }
