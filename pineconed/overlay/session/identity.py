# SPDX-License-Identifier: Apache-2.0
"""Who a node is inside a handshake: its Ed25519 key, and the X25519 form of it that Noise works with."""

from typing import Protocol

from nacl.bindings import (
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import RuntimeError as SodiumError

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.primitives import X25519, KeyPair


class Identity(Protocol):
    """The keys of a node, and how those of others convert."""

    @property
    def public_key(self) -> bytes:
        """The 32-byte Ed25519 key that names the node."""

    @property
    def static(self) -> KeyPair:
        """The same key in the form for key agreement."""

    def static_of(self, public_key: bytes) -> bytes:
        """The 32 bytes that another node's key is for key agreement; NoiseError for one that is no key."""


class Ed25519Identity:
    """The identity that a 32-byte seed stands for; ValueError for another length."""

    __slots__ = ("public_key", "static")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"a seed of {len(seed)} bytes")
        public_key, secret_key = crypto_sign_seed_keypair(seed)
        self.public_key = public_key
        self.static = X25519().key_pair(crypto_sign_ed25519_sk_to_curve25519(secret_key))

    def static_of(self, public_key: bytes) -> bytes:
        """Libsodium's conversion, which refuses what is not on the curve or of small order."""
        try:
            converted: bytes = crypto_sign_ed25519_pk_to_curve25519(public_key)
        except SodiumError as error:
            raise NoiseError(f"{public_key.hex()} is no Ed25519 key") from error
        return converted


def check_identity(identity: Identity, claimed: bytes, static: bytes, source_key: bytes) -> None:
    """NoiseError unless the node that proved `static` is the one that it claims and the frame names.

    `claimed` is the Ed25519 key in the handshake, `source_key` that in the frame's header.
    """
    if claimed != source_key:
        raise NoiseError(f"handshake of {claimed.hex()} in a frame of {source_key.hex()}")
    if claimed == identity.public_key:
        raise NoiseError("handshake with our own key")
    if identity.static_of(claimed) != static:
        raise NoiseError(f"{claimed.hex()} is not the key that was proved")
