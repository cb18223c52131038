# SPDX-License-Identifier: Apache-2.0
"""Roots (protocol section 1) and watermarks (section 3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.wire.errors import CodecError
from pineconed.wire.root import Root, decode_root, encode_root
from pineconed.wire.watermark import FULL, FULL_KEY, Watermark, is_worse
from tests.unit.wire.strategies import ROOTS, WATERMARKS

LOW, HIGH = b"\x01" * 32, b"\x02" * 32


@given(ROOTS, st.binary(max_size=5), st.binary(max_size=5))
def test_round_trip_in_the_midst_of_other_bytes(root: Root, before: bytes, after: bytes) -> None:
    encoded = encode_root(root)
    end = len(before) + len(encoded)
    data = before + encoded + after
    assert decode_root(data, len(before)) == (root, end)
    assert decode_root(memoryview(data), len(before), end) == (root, end)
    for cut in range(len(before), end):
        with pytest.raises(CodecError, match="cut off"):
            decode_root(data, len(before), cut)


def test_a_sequence_longer_than_needed() -> None:
    with pytest.raises(CodecError, match="not minimal"):
        decode_root(LOW + b"\x80\x05")


@pytest.mark.parametrize("root", [Root(LOW[1:], 0), Root(LOW + b"\0", 0), Root(LOW, -1), Root(LOW, 2**64)])
def test_roots_without_an_encoding(root: Root) -> None:
    with pytest.raises(CodecError):
        encode_root(root)


@pytest.mark.parametrize(
    ("a", "b", "worse"),
    [
        (Watermark(HIGH, 1), Watermark(LOW, 1), True),
        (Watermark(LOW, 1), Watermark(HIGH, 9), False),
        (Watermark(LOW, 1), Watermark(LOW, 2), True),
        (Watermark(LOW, 2), Watermark(LOW, 2), False),
        (Watermark(LOW, 3), Watermark(LOW, 2), False),
        (Watermark(LOW, 0), Watermark(LOW, 2), False),
        (Watermark(LOW, 1), Watermark(LOW, 0), False),
        (FULL, Watermark(HIGH, 0), True),
        (Watermark(HIGH, 0), FULL, False),
        (FULL, FULL, False),
    ],
)
def test_worse(a: Watermark, b: Watermark, worse: bool) -> None:
    assert is_worse(a, b) is worse


@given(WATERMARKS, WATERMARKS)
def test_of_two_watermarks_at_most_one_is_worse(a: Watermark, b: Watermark) -> None:
    assert not (is_worse(a, b) and is_worse(b, a))
    assert not is_worse(a, FULL)


def test_full_is_above_every_key() -> None:
    assert FULL == (FULL_KEY, 0)
    assert bytes.fromhex("ff" * 32) == FULL_KEY
