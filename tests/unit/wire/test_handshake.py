# SPDX-License-Identifier: Apache-2.0
"""The handshake of a peering, protocol section 2."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.errors import CodecError
from pineconed.wire.handshake import (
    HANDSHAKE_LENGTH,
    HandshakeError,
    check_start,
    decode_handshake,
    encode_handshake,
)
from tests.unit.wire.strategies import mutated
from tests.vectors_source import load_vectors

SIGNER = Ed25519Signer(b"\x07" * 32)
OURS = encode_handshake(SIGNER)


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("handshake"))
def test_vectors(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    assert encode_handshake(Ed25519Signer(bytes.fromhex(vector["seed"]))) == encoded
    assert decode_handshake(memoryview(encoded), verify_ed25519).hex() == vector["public_key"]


@given(st.binary(min_size=32, max_size=32))
def test_round_trip(seed: bytes) -> None:
    signer = Ed25519Signer(seed)
    encoded = encode_handshake(signer)
    assert len(encoded) == HANDSHAKE_LENGTH
    assert decode_handshake(encoded, verify_ed25519) == signer.public_key


@given(mutated(OURS))
def test_any_other_bytes_raise_the_one_error(data: bytes) -> None:
    if data != OURS:
        with pytest.raises(CodecError):
            decode_handshake(data, verify_ed25519)


def _signed(head: bytes) -> bytes:
    return head + SIGNER.sign(head)


def test_the_unused_bytes_are_signed_but_not_looked_at() -> None:
    assert decode_handshake(_signed(b"\x01abc" + OURS[4:40]), verify_ed25519) == SIGNER.public_key


@pytest.mark.parametrize(
    ("handshake", "reason"),
    [
        (_signed(b"\x00" + OURS[1:40]), "version 0, not 1"),
        (_signed(b"\x02" + OURS[1:40]), "version 2, not 1"),
        (_signed(OURS[:4] + b"\x00\x00\x00\x3f" + OURS[8:40]), "capabilities 0x3f, not 0x3b"),
        (_signed(OURS[:4] + b"\x01\x00\x00\x3b" + OURS[8:40]), "capabilities 0x100003b, not 0x3b"),
        (OURS[:-1] + bytes([OURS[-1] ^ 1]), f"bad signature by {SIGNER.public_key.hex()}"),
        (OURS[:1] + b"\x01" + OURS[2:], "bad signature by"),
        (OURS[:-1], "length 103, not 104"),
        (OURS + b"\x00", "length 105, not 104"),
        (b"", "length 0, not 104"),
    ],
)
def test_refusals_say_why(handshake: bytes, reason: str) -> None:
    with pytest.raises(HandshakeError, match=reason) as caught:
        decode_handshake(handshake, verify_ed25519)
    assert str(caught.value) == caught.value.reason


def test_the_verifier_sees_the_bytes_as_received() -> None:
    seen = []

    def verifier(public_key: bytes, message: bytes, signature: bytes) -> bool:
        seen.append((public_key, message, signature))
        return True

    decode_handshake(OURS, verifier)
    assert seen == [(SIGNER.public_key, OURS[:40], OURS[40:])]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\x16\x03\x01\x02", "the peer speaks TLS: one side has tls:// or wss:// in its URI"),
        (b"\x15\x03\x03\x00", "the peer speaks TLS"),
        (b"GET /mesh HTTP/1.1\r\n", "the peer speaks HTTP: it is a web browser or server"),
        (b"HTTP/1.1 400 Bad Request", "the peer speaks HTTP"),
        (b"SSH-2.0-OpenSSH_9", "the peer speaks SSH, so the port is a wrong one"),
        (b"G", "version 71, not 1: the peer speaks another version, or no Pinecone at all"),
        (b"\x02", "version 2, not 1"),
    ],
)
def test_the_first_bytes_tell_what_is_no_handshake(first: bytes, words: str) -> None:
    with pytest.raises(HandshakeError) as refusal:
        check_start(first)
    assert refusal.value.reason.startswith(words)


@given(st.binary(max_size=104))
def test_bytes_that_begin_as_a_handshake_wait_for_the_rest(rest: bytes) -> None:
    check_start(b"")
    check_start(b"\x01" + rest)
