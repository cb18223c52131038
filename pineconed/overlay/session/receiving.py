# SPDX-License-Identifier: Apache-2.0
"""DATA from other nodes, from the frame's payload to packets for the TUN device.

The flow: `handle_data` finds the session by its index, opens the message, and sorts by the first byte of the
plaintext. What proves itself here is what teaches us: that the peer is there, where it is, that a session
which we began is proven. DATA for a session that we do not have is answered with UNKNOWN, and UNKNOWN about
DATA of ours is taken for a hint that the peer has lost the session.
"""

from pineconed.clock import NEVER
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import Kind
from pineconed.overlay.session.dialling import Attempt, Dialler
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.echoes import Echoes
from pineconed.overlay.session.indices import Owner
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.known_peers import usable_coords
from pineconed.overlay.session.lifecycle import Lifecycle
from pineconed.overlay.session.message import decode_counter, decode_header, encode_unknown
from pineconed.overlay.session.party import FEATURE_PARTIAL
from pineconed.overlay.session.plaintext import foreign_address, read_batch
from pineconed.overlay.session.rekeying import Rekeying
from pineconed.overlay.session.session import Session
from pineconed.overlay.session.super_packet import decode_super_packet
from pineconed.rate import TokenBucket
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_PREFIX_LENGTH

UNKNOWN_RATE = 100.0
"""UNKNOWNs a second, and at once."""

HINT_INTERVAL = 5.0
"""Seconds between two hints about a session that are followed."""


class Receiver:
    """What becomes of DATA and UNKNOWN."""

    def __init__(
        self, context: Context, lifecycle: Lifecycle, dialler: Dialler, rekeying: Rekeying, echoes: Echoes
    ) -> None:
        self._context = context
        self._lifecycle = lifecycle
        self._dialler = dialler
        self._rekeying = rekeying
        self._echoes = echoes
        self._owners = context.indices.owners
        self._partial = bool(context.party.offer.features & FEATURE_PARTIAL)
        self._unknowns = TokenBucket(UNKNOWN_RATE, UNKNOWN_RATE)

    def handle_data(self, source_key: bytes, source_coords: bytes, payload: Buffer, now: float) -> None:
        """DATA from a frame that names this source. Per-packet path.

        CodecError when it is too short to have a header.
        """
        context = self._context
        owner = self._owners.get(int.from_bytes(payload[4:8]))
        session = owner if isinstance(owner, Session) else _unproven(owner)
        if session is None:
            self._tell_unknown(source_key, source_coords, payload, now)
            return
        if source_key != session.peer_key:
            context.drop(SessionDrop.DATA_FOREIGN_KEY)
            return
        if now >= session.expires_at:
            context.drop(SessionDrop.DATA_EXPIRED, session)
            return
        plaintext = session.open(payload, source_coords)
        if isinstance(plaintext, SessionDrop):
            context.drop(plaintext, session)
            return
        if isinstance(owner, Initiation):
            self._prove(owner, session, now)
        session.tally.last_heard = now
        if not session.is_newest:
            self._heard_elsewhere(session)
        elif session.window.highest == int.from_bytes(payload[8:16]):
            context.known.learn(source_key, source_coords, now)
        session.unanswered_since = NEVER
        session.probes = 0
        if not plaintext:
            return
        if plaintext[0] >> 5 != 3:  # neither version 6 nor 7
            self._handle_control(session, plaintext, now)
            return
        packets = context.delivered
        before = len(packets)
        flaw = read_batch(plaintext, session.addresses, packets, partial=self._partial)
        if flaw is not None:
            context.drop(flaw, session)
        if len(packets) > before:
            context.note_received(session, len(packets) - before, len(plaintext), now)

    def _prove(self, initiation: Initiation, session: Session, now: float) -> None:
        """The first DATA under a session that we began: the other side has it too."""
        if isinstance(initiation, Attempt):
            self._lifecycle.adopt(session, now, initiation.round_trip(now))
        else:
            self._rekeying.settle(session, initiation, now)

    def _heard_elsewhere(self, session: Session) -> None:
        """The peer still sends by another session than we do; it is there all the same."""
        newest = self._context.table.newest[session.prefix]
        newest.unanswered_since = NEVER
        newest.probes = 0

    def _handle_control(self, session: Session, plaintext: bytes, now: float) -> None:
        context = self._context
        match plaintext[0]:
            case Kind.ECHO_REQUEST:
                self._echoes.handle_request(session, plaintext, now)
            case Kind.ECHO_REPLY:
                self._echoes.handle_reply(session, plaintext, now)
            case Kind.CLOSE:
                self._lifecycle.drop(session, "closed by the peer")
            case Kind.REKEY:
                try:
                    self._rekeying.handle(session, plaintext[1:], now)
                except CodecError:
                    context.drop(SessionDrop.REKEY_REFUSED, session)
            case Kind.SUPER_PACKET:
                self._deliver_super_packet(session, plaintext, now)
            case _:
                context.drop(SessionDrop.PLAINTEXT_UNKNOWN, session)

    def _deliver_super_packet(self, session: Session, plaintext: bytes, now: float) -> None:
        context = self._context
        try:
            super_packet = decode_super_packet(plaintext)
        except CodecError:
            context.drop(SessionDrop.PLAINTEXT_MALFORMED, session)
            return
        addresses = super_packet.packet[8:40]
        if not context.party.offer.features & super_packet.kind:
            context.drop(SessionDrop.PLAINTEXT_UNKNOWN, session)
        elif addresses != session.addresses:
            context.drop(foreign_address(addresses, session.addresses), session)
        else:
            context.delivered.append(super_packet)
            context.note_received(session, 1, len(super_packet.packet), now)

    # UNKNOWN

    def _tell_unknown(self, source_key: bytes, source_coords: bytes, payload: Buffer, now: float) -> None:
        """DATA for no session of ours: tell its sender, unless a handshake has that index."""
        context = self._context
        context.drop(SessionDrop.DATA_UNKNOWN)
        _, index = decode_header(payload)
        counter = decode_counter(payload)
        if index not in self._owners and not self._unknowns.spend(1, now):
            context.post(source_key, usable_coords(source_coords), encode_unknown(index, counter), now)

    def handle_unknown(self, source_key: bytes, message: bytes, now: float) -> None:
        """Somebody says that a peer does not have a session: dial it beside the session, which stays."""
        _, index = decode_header(message)
        counter = decode_counter(message)
        for session in self._context.table.of_peer(source_key[:KEY_PREFIX_LENGTH]):
            if session.remote_index != index or session.peer_key != source_key:
                continue
            if session.sent_lately(counter) and now - session.hinted_at >= HINT_INTERVAL:
                session.hinted_at = now
                self._dialler.redial(session.prefix, now)
                return
        self._context.drop(SessionDrop.HINT_IGNORED)


def _unproven(owner: Owner | None) -> Session | None:
    """The session that a handshake of ours has led to, not yet proven by the other side."""
    return owner.session if isinstance(owner, Initiation) else None
