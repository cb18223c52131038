# SPDX-License-Identifier: Apache-2.0
"""Coordinates and their distance, protocol section 1."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.wire.coordinates import Coords, decode_coords, distance, encode_coords
from pineconed.wire.errors import CodecError
from tests.unit.wire.strategies import COORDS
from tests.vectors_source import load_vectors


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("coordinates"))
def test_vectors(vector: dict[str, Any]) -> None:
    coords, other, encoded = tuple(vector["coords"]), tuple(vector["other"]), bytes.fromhex(vector["hex"])
    assert encode_coords(coords) == encoded
    assert decode_coords(encoded) == (coords, len(encoded))
    assert distance(coords, other) == distance(other, coords) == vector["distance"]


@given(COORDS, st.binary(max_size=5), st.binary(max_size=5), st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip_in_the_midst_of_other_bytes(
    coords: Coords, before: bytes, after: bytes, buffer: Any
) -> None:
    encoded = encode_coords(coords)
    end = len(before) + len(encoded)
    data = buffer(before + encoded + after)
    assert decode_coords(data, len(before)) == (coords, end)
    assert decode_coords(data, len(before), end) == (coords, end)
    for cut in range(len(before), end):
        with pytest.raises(CodecError, match="cut off"):
            decode_coords(data, len(before), cut)


@given(st.binary(max_size=40))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    try:
        coords, end = decode_coords(data)
    except CodecError:
        return
    assert end == 2 + int.from_bytes(data[:2])
    assert len(encode_coords(coords)) <= end


def test_ports_may_be_longer_than_they_need_to_be() -> None:
    assert decode_coords(bytes.fromhex("0006 8005 80808005")) == ((5, 5), 8)


def test_a_port_does_not_run_past_the_length() -> None:
    with pytest.raises(CodecError, match="cut off"):
        decode_coords(bytes.fromhex("0002 05 81 05"))


def test_the_longest_that_fit_the_length_field() -> None:
    longest = (1,) * 0xFFFF
    assert decode_coords(encode_coords(longest)) == (longest, 2 + 0xFFFF)
    with pytest.raises(CodecError, match="65536 bytes"):
        encode_coords((*longest, 1))


@pytest.mark.parametrize("port", [-1, 2**64])
def test_ports_without_an_encoding(port: int) -> None:
    with pytest.raises(CodecError):
        encode_coords((1, port))


@given(COORDS, COORDS, COORDS)
def test_distance_counts_the_steps_over_the_common_ancestor(stem: Coords, a: Coords, b: Coords) -> None:
    assert distance(stem, stem) == 0
    assert distance(stem, stem + a) == len(a)
    assert distance((*stem, 1, *a), (*stem, 2, *b)) == len(a) + len(b) + 2
    assert distance(a, b) == distance(b, a)
