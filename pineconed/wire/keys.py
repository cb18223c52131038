# SPDX-License-Identifier: Apache-2.0
"""Lengths of the fixed-size fields."""

from pineconed.wire.errors import CodecError

KEY_LENGTH = 32
"""Bytes of an Ed25519 public key."""

SIGNATURE_LENGTH = 64
"""Bytes of an Ed25519 signature."""


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
