# SPDX-License-Identifier: Apache-2.0
"""The handshake: the first 104 bytes of each side of a peering (protocol section 2)."""

import struct

from pineconed.signing import Signer, Verifier
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import SIGNATURE_LENGTH, checked_key, checked_signature

HANDSHAKE_LENGTH = 104
VERSION = 1
CAPABILITIES = 0x3B
"""Lengthened root interval, cryptographic setups, deduplicated coordinates, soft state, hybrid routing."""

_FIELDS = struct.Struct(">B3xI32s64s")


class HandshakeError(CodecError):
    """A handshake that ends the peering; `reason` says which field is wrong and how, fit for a log line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_handshake(signer: Signer) -> bytes:
    """The handshake of the node that `signer` stands for."""
    head = struct.pack(">B3xI", VERSION, CAPABILITIES) + checked_key(signer.public_key)
    return head + checked_signature(signer.sign(head))


def decode_handshake(data: Buffer, verifier: Verifier) -> bytes:
    """The peer's public key; HandshakeError unless these are the 104 bytes of a handshake that fits ours.

    The signature is checked over the bytes as received, the three unused ones included.
    """
    raw = bytes(data)
    if len(raw) != HANDSHAKE_LENGTH:
        raise HandshakeError(f"length {len(raw)}, not {HANDSHAKE_LENGTH}")
    version, capabilities, public_key, signature = _FIELDS.unpack(raw)
    if version != VERSION:
        raise HandshakeError(
            f"version {version}, not {VERSION}: the peer speaks another version, or no Pinecone at all"
        )
    if capabilities != CAPABILITIES:
        raise HandshakeError(f"capabilities {capabilities:#04x}, not {CAPABILITIES:#04x}")
    if not verifier(public_key, raw[:-SIGNATURE_LENGTH], signature):
        raise HandshakeError(f"bad signature by {public_key.hex()}")
    return bytes(public_key)
