# SPDX-License-Identifier: Apache-2.0
"""One session: two keys, the counters that guard them, and what was noticed of the peer.

The flow of what is sent: `seal` takes the next counter and gives header and ciphertext. Of what is received:
`open` looks at the replay window, then decrypts, and only then moves the window. Both bind the message to the
two nodes' keys and to the source coords of its frame.
"""

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag

from pineconed.clock import NEVER
from pineconed.overlay.address import address_of
from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.session.cipher import aead, choose
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.items import Items
from pineconed.overlay.session.message import DATA_HEADER, DATA_HEADER_LENGTH, DATA_OVERHEAD, DATA_WORD
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.replay import ReplayWindow
from pineconed.wire.buffer import Buffer
from pineconed.wire.keys import KEY_PREFIX_LENGTH

IDLE = 180.0
"""Seconds without packets and echoes after which a session ends, however new its keys are."""

LATELY = 5.0
"""Seconds: DATA sent within this time, at times twice of it, counts as sent lately."""

PROBE_INTERVAL = 3.0
"""Seconds without an answer after which a peer is asked for an echo, and asked again."""

_NONCE_HEAD = bytes(4)


class Tally:
    """What is counted and noticed of a peer; a session hands it on to the one that takes its place.

    `since`, `last_heard`, `last_packet` (an IP packet, either way), `last_echo` (a request of the peer or of
    our operator) and `rekey_answered_at` (a renewal that the peer began) are in seconds, `rtt` is the last
    round trip in seconds, None before the first.
    """

    __slots__ = (
        "drops",
        "last_echo",
        "last_heard",
        "last_packet",
        "rekey_answered_at",
        "rtt",
        "rx_bytes",
        "rx_packets",
        "since",
        "tx_bytes",
        "tx_packets",
    )

    def __init__(self, now: float) -> None:
        self.since = self.last_heard = now
        self.last_packet = self.last_echo = -NEVER
        self.rekey_answered_at = -NEVER
        self.rtt: float | None = None
        self.tx_packets = self.tx_bytes = self.rx_packets = self.rx_bytes = 0
        self.drops: dict[SessionDrop, int] = {}

    @property
    def last_use(self) -> float:
        """When the last packet or echo was there, in seconds; minus infinity before the first."""
        return max(self.last_packet, self.last_echo)

    def note_sent(self, packets: int, size: int, now: float) -> None:
        """Count IP packets that were queued."""
        self.last_packet = now
        self.tx_packets += packets
        self.tx_bytes += size

    def note_received(self, packets: int, size: int, now: float) -> None:
        """Count IP packets that are delivered."""
        self.last_packet = now
        self.rx_packets += packets
        self.rx_bytes += size


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a finished handshake comes to. `index` is ours, `remote_index` the peer's; times in seconds."""

    party: Party
    handshake: Handshake
    items: Items
    index: int
    remote_index: int
    begun_at: float


class Numbered(Protocol):
    """What other nodes name by a number: a session, or a handshake that makes one."""

    index: int


class Renewal(Numbered, Protocol):
    """A handshake that we began, as far as the session that carries it looks at it."""

    def due(self) -> float:
        """When something is to be done for it, in seconds."""


class Session:
    """The attributes are for the parts of this room; times are in seconds, `NEVER` where nothing happened."""

    __slots__ = (
        "_decrypt",
        "_encrypt",
        "_mark",
        "_mark_at",
        "_mark_before",
        "_received_keys",
        "_sent_keys",
        "addresses",
        "answer",
        "begun_at",
        "carried_packets",
        "cipher",
        "created_at",
        "expires_at",
        "features",
        "hinted_at",
        "index",
        "initiator",
        "is_newest",
        "mtu",
        "peer_key",
        "prefix",
        "probes",
        "proven_at",
        "rekey",
        "rekey_answer",
        "rekey_at",
        "remote_index",
        "sent",
        "tally",
        "timer_at",
        "unanswered_since",
        "window",
    )

    def __init__(self, agreement: Agreement, now: float) -> None:
        party, items, timing = agreement.party, agreement.items, agreement.party.timing
        own_key, self.peer_key = party.identity.public_key, items.public_key
        self.prefix = items.public_key[:KEY_PREFIX_LENGTH]
        self.addresses = address_of(items.public_key) + address_of(own_key)
        """Source and destination that a packet from the peer must have."""
        self.index, self.remote_index = agreement.index, agreement.remote_index
        self.initiator = agreement.handshake.initiator
        self.cipher = choose(party.offer.ciphers, items.ciphers)
        self.mtu = items.packet_limit
        self.features = items.features & party.offer.features
        sending_key, receiving_key = agreement.handshake.split()
        self._encrypt = aead(self.cipher, sending_key).encrypt
        self._decrypt = aead(self.cipher, receiving_key).decrypt
        self._sent_keys = own_key + self.peer_key
        self._received_keys = self.peer_key + own_key
        self.sent = 0
        """How many DATA were sent; the next counter."""
        self.window = ReplayWindow()
        self._mark_at = now
        self._mark = self._mark_before = 0

        self.begun_at, self.created_at = agreement.begun_at, now
        self.proven_at = NEVER
        self.is_newest = False
        """Whether it is the one to send on."""
        self.expires_at = now + timing.lifetime
        early = party.fraction() * timing.rekey_jitter
        self.rekey_at = now + (timing.rekey_after - early if self.initiator else timing.responder_rekey_after)
        self.rekey: Renewal | None = None
        self.rekey_answer: Numbered | None = None
        self.answer: Numbered | None = None
        """As responder: what repeats of the CONFIRM are compared with, for a while."""

        self.carried_packets = False
        self.unanswered_since = NEVER
        """When the first IP packet was sent after which nothing was heard."""
        self.probes = 0
        self.hinted_at = -NEVER
        self.tally = Tally(now)
        self.timer_at = NEVER

    @property
    def idle_at(self) -> float:
        """When it is given up if nothing is sent until then; what never carried anything just expires."""
        last_use = self.tally.last_use
        return NEVER if last_use == -NEVER else last_use + IDLE

    def due(self) -> float:
        """When something about it is to be done next."""
        when = min(self.expires_at, self.idle_at)
        if self.rekey is not None:
            when = min(when, self.rekey.due())
        elif self.is_newest:
            when = min(when, self.rekey_at)
        return min(when, self.unanswered_since + PROBE_INTERVAL * (self.probes + 1))

    def seal(self, plaintext: Buffer, source_coords: bytes, now: float) -> tuple[bytes, bytes]:
        """Header and ciphertext of the next DATA, to be sent at once in a frame with these source coords.

        Per-packet path. The coords are encoded, their length included, as they stand in the frame.
        """
        counter = self.sent
        self.sent = counter + 1
        if now - self._mark_at >= LATELY:
            self._mark_before, self._mark, self._mark_at = self._mark, counter, now
        header = DATA_HEADER.pack(DATA_WORD, self.remote_index, counter)
        bound = header + self._sent_keys + source_coords
        return header, self._encrypt(_NONCE_HEAD + header[8:], plaintext, bound)

    def open(self, payload: Buffer, source_coords: bytes) -> bytes | SessionDrop:
        """The plaintext of DATA from a frame of the peer with these source coords, or why it is dropped.

        Per-packet path. A plaintext is given out once; what is dropped changes nothing.
        """
        if len(payload) < DATA_OVERHEAD:
            return SessionDrop.MESSAGE_MALFORMED
        header = bytes(payload[:DATA_HEADER_LENGTH])
        counter = int.from_bytes(header[8:])
        window = self.window
        if not window.admits(counter):
            return SessionDrop.DATA_REPLAYED
        bound = header + self._received_keys + source_coords
        try:
            plaintext = self._decrypt(_NONCE_HEAD + header[8:], payload[DATA_HEADER_LENGTH:], bound)
        except InvalidTag:
            return SessionDrop.DATA_FORGED
        window.note(counter)
        return plaintext

    def sent_lately(self, counter: int) -> bool:
        """Whether DATA with this counter was sent in the last few seconds."""
        return self._mark_before <= counter < self.sent

    def supersedes(self, other: "Session") -> bool:
        """Whether this one, just proven, is to be sent on rather than `other`, which was proven before.

        The two sides must agree. They see the handshakes end in different orders only where both ran at once;
        then the one of the node with the higher key counts as the newer.
        """
        if self.begun_at >= other.proven_at or self.initiator == other.initiator:
            return True
        own_key = self._sent_keys[: len(self.peer_key)]
        return self.initiator == (own_key > self.peer_key)
