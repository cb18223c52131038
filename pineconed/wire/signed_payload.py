# SPDX-License-Identifier: Apache-2.0
"""The payload of bootstraps and wakeup broadcasts: a signed sequence and root (protocol sections 5, 7)."""

from dataclasses import dataclass

from pineconed.signing import Signer
from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import SIGNATURE_LENGTH, checked_signature
from pineconed.wire.root import Root, decode_root, encode_root

MAX_PAYLOAD_LENGTH = 1024
"""Bytes above which a payload does not parse; without what travels behind the signature it has 116 at most.

Bootstraps and broadcasts go before all traffic, and one broadcast leaves by every peering: as long as a frame
may be, 16 a second would take the network from everybody else.
"""


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """A node's word that it follows `root`; `sequence` is its Unix time in milliseconds."""

    sequence: int
    root: Root
    signature: bytes


def encode_payload(payload: SignedPayload) -> bytes:
    """The payload of the frame; CodecError for values that have no encoding."""
    return signed_bytes(payload.sequence, payload.root) + checked_signature(payload.signature)


def decode_payload(data: Buffer) -> SignedPayload:
    """The payload of a frame; bytes behind the signature are ignored, and the signature is not looked at.

    CodecError when it is cut off or too long, or an integer is not minimal.
    """
    if len(data) > MAX_PAYLOAD_LENGTH:
        raise CodecError(f"a signed payload of {len(data)} bytes")
    sequence, offset = varu64.decode_minimal(data)
    root, offset = decode_root(data, offset)
    end = offset + SIGNATURE_LENGTH
    if end > len(data):
        raise CodecError("signed payload cut off")
    return SignedPayload(sequence, root, bytes(data[offset:end]))


def signed_bytes(sequence: int, root: Root) -> bytes:
    """What the signature covers; CodecError for values that have no encoding."""
    return varu64.encode(sequence) + encode_root(root)


def sign_payload(sequence: int, root: Root, signer: Signer) -> SignedPayload:
    """The payload by which `signer` makes itself known."""
    return SignedPayload(sequence, root, signer.sign(signed_bytes(sequence, root)))
