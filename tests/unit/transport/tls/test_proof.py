# SPDX-License-Identifier: Apache-2.0
"""The messages inside TLS, byte by byte."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.transport.tls.proof import (
    CLAIM_LENGTH,
    HELLO_LENGTH,
    Claim,
    Hello,
    ProofError,
    client_proof,
    decode_claim,
    decode_hello,
    encode_claim,
    encode_hello,
    is_proof,
    password_key,
    server_proof,
    transcript,
)


@given(st.booleans(), st.binary(min_size=32, max_size=32))
def test_a_hello_survives(wants_password: bool, nonce: bytes) -> None:
    data = encode_hello(Hello(wants_password, nonce))
    assert len(data) == HELLO_LENGTH == 34
    assert decode_hello(data) == Hello(wants_password, nonce)


@given(st.booleans(), st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_a_claim_survives(has_password: bool, key: bytes, signature: bytes) -> None:
    data = encode_claim(Claim(has_password, key, signature))
    assert len(data) == CLAIM_LENGTH == 98
    assert decode_claim(data) == Claim(has_password, key, signature)


@given(st.binary(max_size=140))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (decode_hello, decode_claim):
        try:
            decode(data)
        except ProofError:
            continue
        assert data[0] == 1


def test_another_version_is_named_and_other_flags_are_for_later() -> None:
    with pytest.raises(ProofError, match="version 2 of TLS peerings, not 1"):
        decode_hello(b"\2" + bytes(33))
    assert decode_hello(b"\1\xfe" + bytes(32)) == Hello(False, bytes(32))


def test_what_is_signed_is_spelled_out() -> None:
    told = transcript(b"n" * 32, b"certificate", b"k" * 32)
    assert told == b"pineconed tls client 1" + b"n" * 32 + hashlib.sha256(b"certificate").digest() + b"k" * 32


def test_the_key_of_a_password_is_the_same_everywhere() -> None:
    key = password_key("correct horse battery staple \u00fc")
    assert key.hex() == "a1abd4d2eb87c9ab0b5e47773395f8787b11bf656bbc79baed2918e5846b61f1"
    told = transcript(bytes(32), b"", bytes(32))
    assert client_proof(key, told) != server_proof(key, told)
    assert is_proof(client_proof(key, told), client_proof(key, told))
    assert not is_proof(server_proof(key, told), client_proof(key, told))
