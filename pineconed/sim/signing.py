# SPDX-License-Identifier: Apache-2.0
"""Signatures for simulated nodes: real Ed25519 for small networks, a cheap stand-in for large ones.

The stand-in signs with BLAKE2b under a key that the whole simulated network shares and puts the public key in
front of the message. Verifying recomputes it, so there is no registry of keys; anyone in the network could
forge, which no simulated node does. It costs about a microsecond where Ed25519 costs a hundred.
"""

from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from random import Random

from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Party
from pineconed.signing import Ed25519Signer, Signer, Verifier, verify_ed25519
from pineconed.sim.agreement import CHEAP_SUITE, CheapIdentity


@dataclass(frozen=True, slots=True)
class CheapSigner:
    """A signer whose signatures only `CheapScheme.verify` with the same secret accepts."""

    public_key: bytes
    secret: bytes

    def sign(self, message: bytes) -> bytes:
        """The 64-byte stand-in for a signature over `message`."""
        return blake2b(self.public_key + message, digest_size=64, key=self.secret).digest()


class CheapScheme:
    """Keys and signatures by keyed BLAKE2b; keys are random and depend on the seed only."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._secret = rng.randbytes(32)

    def signer(self) -> Signer:
        """A new identity."""
        return CheapSigner(self._rng.randbytes(32), self._secret)

    def party(self, signer: Signer, rng: Random) -> Party:
        """The side of an identity in sessions."""
        return Party(CheapIdentity(signer.public_key), rng.randbytes, suite=CHEAP_SUITE)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is what the owner of `public_key` makes of `message`."""
        expected = blake2b(public_key + bytes(message), digest_size=64, key=self._secret).digest()
        return compare_digest(expected, signature)

    @property
    def verifier(self) -> Verifier:
        """What nodes of this network verify with."""
        return self.verify


class Ed25519Scheme:
    """The real thing, with private keys that depend on the seed only."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._seeds: dict[bytes, bytes] = {}

    def signer(self) -> Signer:
        """A new identity."""
        seed = self._rng.randbytes(32)
        signer = Ed25519Signer(seed)
        self._seeds[signer.public_key] = seed
        return signer

    def party(self, signer: Signer, rng: Random) -> Party:
        """The side of an identity in sessions."""
        return Party(Ed25519Identity(self._seeds[signer.public_key]), rng.randbytes)

    @property
    def verifier(self) -> Verifier:
        """What nodes of this network verify with."""
        return verify_ed25519
