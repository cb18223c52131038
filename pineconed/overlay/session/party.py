# SPDX-License-Identifier: Apache-2.0
"""Our side of every handshake: who we are, what we offer, how long keys last."""

from dataclasses import dataclass, field

from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.noise.pattern import XXHFS
from pineconed.overlay.noise.primitives import DH_LENGTH, X25519, Entropy, MlKem768, Suite
from pineconed.overlay.session.identity import Identity, check_identity
from pineconed.overlay.session.items import Items, decode_items, encode_items
from pineconed.overlay.session.message import HEADER_LENGTH
from pineconed.overlay.session.super_packet import SuperKind

PROLOGUE = b"pineconed session 1"

FEATURE_TCP = SuperKind.TCP
FEATURE_UDP = SuperKind.UDP
FEATURE_PARTIAL = 4
"""Bits of `features`: what the interface takes, super-packets and packets with a partial checksum."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long keys are used, in seconds of their age; the defaults are those of the protocol.

    Without traffic nothing is renewed. `rekey_jitter` is taken off `rekey_after` at random.
    """

    rekey_after: float = 120.0
    rekey_jitter: float = 10.0
    responder_rekey_after: float = 150.0
    lifetime: float = 180.0
    message_limit: int = 2**25


@dataclass(frozen=True, slots=True)
class Offer:
    """What we tell a peer: our interface's MTU in bytes, ciphers by preference, features."""

    mtu: int = 65000
    ciphers: bytes = b"\x01\x02"
    features: int = 0


@dataclass(frozen=True, slots=True)
class Party:
    """Our side. `entropy` must be fit for keys; a simulation may replace the primitives in `suite`."""

    identity: Identity
    entropy: Entropy
    offer: Offer = Offer()
    timing: Timing = Timing()
    suite: Suite = field(default_factory=lambda: Suite(X25519(), MlKem768()))

    def handshake(self, init: bytes, initiator_key: bytes, *, initiator: bool) -> Handshake:
        """A new handshake, bound to the header of its INIT and to the initiator's key."""
        prologue = PROLOGUE + init[:HEADER_LENGTH] + initiator_key
        return Handshake(XXHFS, self.suite, self.identity.static, prologue, initiator=initiator)

    def payload(self, coords: bytes | None, index: int | None = None, packet: bytes | None = None) -> bytes:
        """What we tell the other side inside a handshake."""
        offer = self.offer
        own_key = self.identity.public_key
        return encode_items(Items(own_key, offer.ciphers, coords, offer.mtu, packet, index, offer.features))

    def check(self, payload: bytes, static: bytes, source_key: bytes) -> Items:
        """What the other side told, if it is the one that the frame names; else CodecError."""
        items = decode_items(payload)
        check_identity(self.identity, items.public_key, static, source_key)
        return items

    @property
    def init_length(self) -> int:
        """Bytes of an INIT before it is padded."""
        kem = self.suite.kem
        return HEADER_LENGTH + DH_LENGTH + (kem.public_length if kem is not None else 0)

    def fraction(self) -> float:
        """A random number from 0 to below 1."""
        return int.from_bytes(self.entropy(4)) / 2**32
