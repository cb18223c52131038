# SPDX-License-Identifier: Apache-2.0
"""Variable-length integers, protocol section 1."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pineconed.wire import varu64
from pineconed.wire.errors import CodecError
from tests.unit.wire.strategies import U64
from tests.vectors_source import load_vectors


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("varu64"))
def test_vectors(vector: dict[str, Any]) -> None:
    encoded, value = bytes.fromhex(vector["hex"]), int(vector["value"])
    assert varu64.encode(value) == encoded
    assert varu64.decode(encoded) == (value, len(encoded))
    assert varu64.decode_minimal(encoded) == (value, len(encoded))


@given(U64, st.binary(max_size=12), st.binary(max_size=12), st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip_in_the_midst_of_other_bytes(value: int, before: bytes, after: bytes, buffer: Any) -> None:
    encoded = varu64.encode(value)
    data = buffer(before + encoded + after)
    for decode in (varu64.decode, varu64.decode_minimal):
        assert decode(data, len(before)) == (value, len(before) + len(encoded))
        assert decode(data, len(before), len(before) + len(encoded)) == (value, len(before) + len(encoded))


@given(st.integers(0, 2**63 - 1), st.integers(1, 9))
def test_leading_zero_groups_parse_but_are_not_minimal(value: int, zeros: int) -> None:
    padded = (b"\x80" * zeros + varu64.encode(value))[-10:]
    assert varu64.decode(padded) == (value, len(padded))
    with pytest.raises(CodecError, match="not minimal"):
        varu64.decode_minimal(padded)


@given(U64)
def test_cut_off_anywhere(value: int) -> None:
    encoded = varu64.encode(value)
    for end in range(len(encoded)):
        with pytest.raises(CodecError, match="cut off"):
            varu64.decode(encoded, 0, end)
        with pytest.raises(CodecError, match="cut off"):
            varu64.decode(encoded[:end])


@given(st.binary(max_size=14), st.integers(0, 3))
@example(b"", 0)
@example(b"", 3)
@example(b"\x80" * 9 + b"\x00", 0)
@example(b"\x80" * 10 + b"\x00", 0)
@example(b"\x81" + b"\xff" * 8 + b"\x7f", 0)
@example(b"\x82" + b"\x80" * 8 + b"\x00", 0)
def test_any_bytes_parse_or_raise_the_one_error(data: bytes, offset: int) -> None:
    try:
        value, after = varu64.decode(data, offset)
    except CodecError:
        return
    assert 0 <= value <= varu64.MAX_VALUE
    assert offset < after <= len(data)
    assert data[offset:after].lstrip(b"\x80") == varu64.encode(value).lstrip(b"\x80")


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("", "cut off"),
        ("80", "cut off"),
        ("808080808080808080", "cut off"),
        ("80808080808080808080", "longer than 10 bytes"),
        ("8080808080808080808000", "longer than 10 bytes"),
        ("82808080808080808000", "above"),
        ("ffffffffffffffffff7f", "above"),
    ],
)
def test_refused(encoded: str, message: str) -> None:
    for decode in (varu64.decode, varu64.decode_minimal):
        with pytest.raises(CodecError, match=message):
            decode(bytes.fromhex(encoded))


def test_zero_is_one_zero_byte_and_minimal() -> None:
    assert varu64.encode(0) == b"\x00"
    assert varu64.decode_minimal(b"\x00") == (0, 1)
    with pytest.raises(CodecError, match="not minimal"):
        varu64.decode_minimal(b"\x80\x00")


@pytest.mark.parametrize("value", [-1, 2**64, 2**70])
def test_values_without_an_encoding(value: int) -> None:
    with pytest.raises(CodecError, match="unsigned 64-bit"):
        varu64.encode(value)
