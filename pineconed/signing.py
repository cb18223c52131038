# SPDX-License-Identifier: Apache-2.0
"""Ed25519 as the network judges it: signing, and verifying with the verdicts of protocol section 1."""

from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

Verifier = Callable[[bytes, bytes, bytes], bool]
"""(public_key, message, signature) -> whether the signature holds."""


class Signer(Protocol):
    """Whoever holds the node's private key."""

    @property
    def public_key(self) -> bytes:
        """The 32-byte Ed25519 public key."""

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`; the same message gives the same signature."""


class Ed25519Signer:
    """A signer with its 32-byte seed in memory."""

    __slots__ = ("_key", "_public_key")

    def __init__(self, seed: bytes) -> None:
        """ValueError unless `seed` is 32 bytes."""
        self._key = SigningKey(seed)
        self._public_key = bytes(self._key.verify_key)

    @property
    def public_key(self) -> bytes:
        """The 32-byte Ed25519 public key."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`; the same message gives the same signature."""
        return self._key.sign(message).signature


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature holds, as Go's crypto/ed25519 judges; with a key of another length it never does.

    libsodium is twice as fast and refuses small-order and non-canonical keys, which the network accepts:
    so its yes counts, and its no is checked again with OpenSSL, which judges as Go does.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return _verify_openssl(public_key, message, signature)
    return True


def _verify_openssl(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
