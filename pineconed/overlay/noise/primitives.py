# SPDX-License-Identifier: Apache-2.0
"""What a handshake is made of and is given: key agreement, key encapsulation, randomness."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from pineconed.overlay.noise.errors import NoiseError

Entropy = Callable[[int], bytes]
"""Gives that many random bytes, fit for keys."""

DH_LENGTH = 32
"""Bytes of a private key, a public key and a shared secret."""


class KeyPair(Protocol):
    """One side's key pair for key agreement."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""

    def exchange(self, public: bytes) -> bytes:
        """The 32 bytes shared with the owner of `public`; NoiseError for a key that shares nothing."""


class KeyAgreement(Protocol):
    """Diffie-Hellman."""

    def key_pair(self, private: bytes) -> KeyPair:
        """The pair of a 32-byte private key."""


class KemKeyPair(Protocol):
    """The key pair of the side that decapsulates."""

    @property
    def public(self) -> bytes:
        """The public key, which the other side encapsulates to."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The secret in `ciphertext`, a random one if it is forged; NoiseError for a wrong length."""


class Kem(Protocol):
    """A key encapsulation mechanism; all lengths are in bytes."""

    @property
    def seed_length(self) -> int:
        """What a key pair is made from."""

    @property
    def public_length(self) -> int:
        """A public key."""

    @property
    def ciphertext_length(self) -> int:
        """An encapsulated secret."""

    def key_pair(self, seed: bytes) -> KemKeyPair:
        """The pair that comes of a random seed."""

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """A new secret and its ciphertext, in this order; NoiseError for a key that is none."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The primitives of a handshake; without a `kem` only patterns without one can run."""

    dh: KeyAgreement
    kem: Kem | None = None


class _X25519KeyPair:
    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, public: bytes) -> bytes:
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise NoiseError(f"X25519 key {public.hex()} shares nothing") from error


class X25519:
    """RFC 7748. An all-zero shared secret is refused."""

    def key_pair(self, private: bytes) -> KeyPair:
        """The pair of a 32-byte private key."""
        return _X25519KeyPair(private)


class _MlKem768KeyPair:
    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        self._private = MLKEM768PrivateKey.from_seed_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        try:
            return self._private.decapsulate(ciphertext)
        except ValueError as error:
            raise NoiseError("no ML-KEM-768 ciphertext") from error


class MlKem768:
    """FIPS 203. Encapsulation draws on the library's own randomness, which cannot be passed in."""

    seed_length = 64
    public_length = 1184
    ciphertext_length = 1088

    def key_pair(self, seed: bytes) -> KemKeyPair:
        """The pair that comes of a 64-byte seed."""
        return _MlKem768KeyPair(seed)

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """A new secret and its ciphertext; NoiseError when `public` is no ML-KEM-768 key."""
        try:
            return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError as error:
            raise NoiseError("no ML-KEM-768 public key") from error
