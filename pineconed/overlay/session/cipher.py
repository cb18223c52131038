# SPDX-License-Identifier: Apache-2.0
"""The ciphers of a session, and which one two nodes take."""

from enum import IntEnum

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Aead = AESGCM | ChaCha20Poly1305


class Cipher(IntEnum):
    """As they stand in the list of preferences."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


def choose(ours: bytes, theirs: bytes) -> Cipher:
    """AES-256-GCM if it is the first of both lists of preferences, else ChaCha20-Poly1305."""
    aes = bytes((Cipher.AES_256_GCM,))
    both = ours.startswith(aes) and theirs.startswith(aes)
    return Cipher.AES_256_GCM if both else Cipher.CHACHA20_POLY1305


def aead(cipher: Cipher, key: bytes) -> Aead:
    """The cipher with a 32-byte key."""
    return AESGCM(key) if cipher is Cipher.AES_256_GCM else ChaCha20Poly1305(key)
