# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures: their lengths, and what an IPv6 address shows of a key."""

from pineconed.wire.errors import CodecError

KEY_LENGTH = 32
"""Bytes of an Ed25519 public key."""

SIGNATURE_LENGTH = 64
"""Bytes of an Ed25519 signature."""

KEY_PREFIX_LENGTH = 15
"""How many bytes of a key an IPv6 address shows (protocol section 11)."""

KEY_PADDING = bytes(KEY_LENGTH - KEY_PREFIX_LENGTH)
"""What stands for the rest of a key of which only the address is known."""


def checked_key(key: bytes) -> bytes:
    """`key` itself; CodecError unless it is 32 bytes."""
    if len(key) != KEY_LENGTH:
        raise CodecError(f"a key of {len(key)} bytes")
    return key


def checked_signature(signature: bytes) -> bytes:
    """`signature` itself; CodecError unless it is 64 bytes."""
    if len(signature) != SIGNATURE_LENGTH:
        raise CodecError(f"a signature of {len(signature)} bytes")
    return signature
