# SPDX-License-Identifier: Apache-2.0
"""The handshake: the first 104 bytes of each side of a peering (protocol section 2)."""

import struct

from pineconed.signing import Signer, Verifier
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.first_bytes import Protocol, protocol_of
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


def check_start(data: Buffer) -> None:
    """HandshakeError when the first bytes, however few, cannot be those of a handshake that fits ours."""
    if data and data[0] != VERSION:
        raise HandshakeError(_FOREIGN.get(protocol_of(data)) or _other_version(data[0]))


def _other_version(version: int) -> str:
    return f"version {version}, not {VERSION}: the peer speaks another version, or no Pinecone at all"


_FOREIGN: dict[Protocol | None, str] = {
    Protocol.TLS: "the peer speaks TLS: one side has tls:// or wss:// in its URI, the other has not",
    Protocol.HTTP: "the peer speaks HTTP: it is a web browser or server, or one side has ws:// in its URI "
    "and the other has not",
    Protocol.SSH: "the peer speaks SSH, so the port is a wrong one",
}


def decode_handshake(data: Buffer, verifier: Verifier) -> bytes:
    """The peer's public key; HandshakeError unless these are the 104 bytes of a handshake that fits ours.

    The signature is checked over the bytes as received, the three unused ones included.
    """
    raw = bytes(data)
    if len(raw) != HANDSHAKE_LENGTH:
        raise HandshakeError(f"length {len(raw)}, not {HANDSHAKE_LENGTH}")
    version, capabilities, public_key, signature = _FIELDS.unpack(raw)
    if version != VERSION:
        raise HandshakeError(_other_version(version))
    if capabilities != CAPABILITIES:
        raise HandshakeError(f"capabilities {capabilities:#04x}, not {CAPABILITIES:#04x}")
    if not verifier(public_key, raw[:-SIGNATURE_LENGTH], signature):
        raise HandshakeError(f"bad signature by {public_key.hex()}")
    return bytes(public_key)
