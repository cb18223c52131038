# SPDX-License-Identifier: Apache-2.0
"""The payload of bootstraps and wakeup broadcasts, protocol sections 5 and 7."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.errors import CodecError
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import (
    SignedPayload,
    decode_payload,
    encode_payload,
    sign_payload,
    signed_bytes,
)
from tests.unit.wire.strategies import SIGNED_PAYLOADS, mutated
from tests.vectors_source import load_vectors

SHORTEST = SignedPayload(1, Root(bytes(32), 1), bytes(64))


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("signed_payloads"))
def test_vectors(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["payload"])
    signer = Ed25519Signer(bytes.fromhex(vector["seed"]))
    root = Root(bytes.fromhex(vector["root_public_key"]), vector["root_sequence"])
    payload = decode_payload(encoded)
    assert encode_payload(payload) == encoded
    assert (payload.sequence, payload.root) == (vector["sequence"], root)
    assert signer.public_key.hex() == vector["public_key"]
    assert verify_ed25519(signer.public_key, signed_bytes(payload.sequence, root), payload.signature)
    assert sign_payload(payload.sequence, root, signer) == payload


@given(SIGNED_PAYLOADS, st.binary(max_size=20), st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip_whatever_follows_the_signature(payload: SignedPayload, more: bytes, buffer: Any) -> None:
    encoded = encode_payload(payload)
    assert decode_payload(buffer(encoded + more)) == payload
    assert encoded == signed_bytes(payload.sequence, payload.root) + payload.signature


@given(st.data())
def test_any_bytes_parse_or_raise_the_one_error(data: st.DataObject) -> None:
    encoded = data.draw(mutated(encode_payload(data.draw(SIGNED_PAYLOADS))))
    try:
        payload = decode_payload(encoded)
    except CodecError:
        return
    assert encoded.startswith(encode_payload(payload))


def test_the_shortest_payload_is_98_bytes() -> None:
    encoded = encode_payload(SHORTEST)
    assert len(encoded) == 98
    for length in range(98):
        with pytest.raises(CodecError, match="cut off"):
            decode_payload(encoded[:length])


@pytest.mark.parametrize("position", [0, 33])
def test_integers_that_are_not_minimal(position: int) -> None:
    encoded = encode_payload(SHORTEST)
    with pytest.raises(CodecError, match="not minimal"):
        decode_payload(encoded[:position] + b"\x80" + encoded[position:])


@pytest.mark.parametrize(
    "payload",
    [
        SignedPayload(-1, SHORTEST.root, bytes(64)),
        SignedPayload(1, Root(b"", 0), bytes(64)),
        SignedPayload(1, SHORTEST.root, bytes(63)),
    ],
)
def test_payloads_without_an_encoding(payload: SignedPayload) -> None:
    with pytest.raises(CodecError):
        encode_payload(payload)
