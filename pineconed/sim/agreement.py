# SPDX-License-Identifier: Apache-2.0
"""A cheap stand-in for the key agreement of simulated nodes, fit for the keys of the cheap signatures.

It has the sizes of the real thing and none of its secrecy: whoever sees the public keys can compute
every shared secret.
"""

from dataclasses import dataclass
from hashlib import blake2b

from pineconed.overlay.noise.primitives import KemKeyPair, KeyPair, Suite


@dataclass(frozen=True, slots=True)
class CheapKeyPair:
    """A key pair whose private key is its public one."""

    public: bytes

    def exchange(self, public: bytes) -> bytes:
        """The same for both sides."""
        return blake2b(b"".join(sorted((self.public, public))), digest_size=32).digest()


class CheapAgreement:
    """Key agreement by `CheapKeyPair`."""

    def key_pair(self, private: bytes) -> KeyPair:
        """The pair of a private key."""
        return CheapKeyPair(private)


@dataclass(frozen=True, slots=True)
class CheapKemKeyPair:
    """The pair of the cheap key encapsulation."""

    public: bytes

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The secret that the ciphertext begins with."""
        return ciphertext[:32]


class CheapKem:
    """A key encapsulation with the sizes of ML-KEM-768 that hides nothing."""

    seed_length = 64
    public_length = 1184
    ciphertext_length = 1088

    def key_pair(self, seed: bytes) -> KemKeyPair:
        """The pair that comes of a seed."""
        return CheapKemKeyPair(seed.ljust(self.public_length, b"\0"))

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """A secret and its ciphertext; the same for the same key."""
        secret = blake2b(public, digest_size=32).digest()
        return secret, secret.ljust(self.ciphertext_length, b"\0")


@dataclass(frozen=True, slots=True)
class CheapIdentity:
    """A node whose key is the same in every form."""

    public_key: bytes

    @property
    def static(self) -> KeyPair:
        """The key itself."""
        return CheapKeyPair(self.public_key)

    def static_of(self, public_key: bytes) -> bytes:
        """The key itself."""
        return public_key


CHEAP_SUITE = Suite(CheapAgreement(), CheapKem())
"""What cheap identities shake hands with."""
