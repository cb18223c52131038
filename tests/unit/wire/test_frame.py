# SPDX-License-Identifier: Apache-2.0
"""Frames, protocol section 3."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.wire.errors import CodecError
from pineconed.wire.frame import (
    HEADER_LENGTH,
    MAX_FRAME_LENGTH,
    BootstrapFrame,
    Frame,
    FrameHeader,
    FrameType,
    Keepalive,
    TrafficFrame,
    TreeAnnouncementFrame,
    UnknownFrame,
    WakeupBroadcastFrame,
    decode_frame,
    decode_header,
    encode_frame,
)
from pineconed.wire.watermark import FULL, Watermark
from tests.unit.wire.strategies import FRAMES, mutated
from tests.vectors_source import load_vectors

KEY, OTHER_KEY = b"\x0a" * 32, b"\x0b" * 32
MARK = Watermark(OTHER_KEY, 5000)
BY_KEY = TrafficFrame((), (1, 2), KEY, OTHER_KEY, MARK, b"data", hop_limit=10)
BY_COORDS = TrafficFrame((200, 7), (1, 2), KEY, OTHER_KEY, FULL, b"data", hop_limit=10)
ONE_OF_EACH: list[Frame] = [
    Keepalive(),
    TreeAnnouncementFrame(b"announcement"),
    BootstrapFrame(KEY, MARK, b"payload"),
    BY_KEY,
    BY_COORDS,
    WakeupBroadcastFrame(KEY, b"payload", hop_limit=5),
]


def _with_length(frame: bytes) -> bytes:
    """The same bytes under a header that gives their length."""
    return frame[:8] + len(frame).to_bytes(2) + frame[HEADER_LENGTH:]


def _from_vector(vector: Mapping[str, Any]) -> Frame:
    def key(name: str) -> bytes:
        return bytes.fromhex(vector[name])

    travelling = {"extra": vector["extra"], "hop_limit": vector["hop_limit"]}
    if vector["type"] == FrameType.KEEPALIVE:
        return Keepalive(**travelling)
    payload = bytes.fromhex(vector["payload"])
    if vector["type"] == FrameType.TREE_ANNOUNCEMENT:
        return TreeAnnouncementFrame(payload, **travelling)
    if vector["type"] == FrameType.WAKEUP_BROADCAST:
        return WakeupBroadcastFrame(key("source_key"), payload, **travelling)
    marked = "watermark_key" in vector
    watermark = Watermark(key("watermark_key"), vector["watermark_sequence"]) if marked else FULL
    if vector["type"] == FrameType.BOOTSTRAP:
        return BootstrapFrame(key("destination_key"), watermark, payload, **travelling)
    destination, source = tuple(vector["destination"]), tuple(vector["source"])
    keys = key("destination_key"), key("source_key")
    return TrafficFrame(destination, source, *keys, watermark, payload, **travelling)


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("frames"))
def test_vectors(vector: dict[str, Any]) -> None:
    encoded, frame = bytes.fromhex(vector["hex"]), _from_vector(vector)
    assert decode_frame(encoded) == frame
    assert encode_frame(frame) == encoded


@given(FRAMES, st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip(frame: Frame, buffer: Any) -> None:
    encoded = encode_frame(frame)
    assert decode_frame(buffer(encoded)) == frame
    header = decode_header(buffer(b"before" + encoded), 6)
    assert (header.version, header.extra, header.hop_limit) == (frame.version, frame.extra, frame.hop_limit)
    assert header.length == len(encoded)


@given(st.data())
def test_any_bytes_parse_or_raise_the_one_error(data: st.DataObject) -> None:
    encoded = data.draw(mutated(encode_frame(data.draw(FRAMES))))
    for candidate in (encoded, _with_length(encoded) if len(encoded) >= HEADER_LENGTH else encoded):
        try:
            frame = decode_frame(candidate)
        except CodecError:
            continue
        assert decode_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=lambda frame: type(frame).__name__)
def test_cut_off_anywhere(frame: Frame) -> None:
    encoded = encode_frame(frame)
    for length in range(len(encoded)):
        with pytest.raises(CodecError):
            decode_frame(encoded[:length])
        if length >= HEADER_LENGTH and not isinstance(frame, Keepalive):
            with pytest.raises(CodecError):
                decode_frame(_with_length(encoded[:length]))


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=lambda frame: type(frame).__name__)
def test_only_traffic_must_end_where_its_fields_end(frame: Frame) -> None:
    longer = _with_length(encode_frame(frame) + b"more")
    if isinstance(frame, TrafficFrame):
        with pytest.raises(CodecError, match="fields end at"):
            decode_frame(longer)
    else:
        assert decode_frame(longer) == frame


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=lambda frame: type(frame).__name__)
@pytest.mark.parametrize("difference", [-1, 1, 400])
def test_the_frame_length_is_that_of_the_frame(frame: Frame, difference: int) -> None:
    encoded = encode_frame(frame)
    wrong = encoded[:8] + (max(len(encoded) + difference, 0)).to_bytes(2) + encoded[HEADER_LENGTH:]
    with pytest.raises(CodecError, match="frame length"):
        decode_frame(wrong)


def test_traffic_has_a_watermark_only_without_destination_coords() -> None:
    assert MARK.public_key + b"\xa7\x08" in encode_frame(BY_KEY)
    assert len(encode_frame(BY_KEY)) - len(encode_frame(BY_COORDS)) == 34 - 3
    decoded = decode_frame(encode_frame(BY_COORDS))
    assert isinstance(decoded, TrafficFrame)
    assert decoded.watermark == FULL


def test_watermarks_and_coords_need_not_be_minimal() -> None:
    bootstrap = encode_frame(BootstrapFrame(KEY, Watermark(OTHER_KEY, 5), b"!"))
    padded = _with_length(bootstrap.replace(OTHER_KEY + b"\x05", OTHER_KEY + b"\x80\x80\x05"))
    assert decode_frame(padded) == BootstrapFrame(KEY, Watermark(OTHER_KEY, 5), b"!")
    traffic = encode_frame(BY_COORDS).replace(b"\x00\x02\x01\x02", b"\x00\x03\x01\x80\x02")
    assert decode_frame(_with_length(traffic)) == BY_COORDS


@pytest.mark.parametrize("version", [0, 1, 7, 255])
def test_the_version_travels_and_is_never_wrong(version: int) -> None:
    frame = decode_frame(encode_frame(Keepalive(version=version)))
    assert frame == Keepalive(version=version)


@pytest.mark.parametrize("frame_type", [5, 6, 255])
def test_an_unknown_type_parses_whatever_its_body(frame_type: int) -> None:
    frame = UnknownFrame(frame_type, b"\xff\xff")
    assert decode_frame(encode_frame(frame)) == frame
    assert decode_header(encode_frame(frame)) == FrameHeader(0, frame_type, 0, 0, 12)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("70696e65 00 00 00 00 00", "cut off"),
        ("70696e66 00 00 00 00 000a", "70696e66"),
        ("00000000 00 00 00 00 000a", "magic"),
        ("70696e65 00 00 00 00 0000", "length of 0"),
        ("70696e65 00 00 00 00 0009", "length of 9"),
    ],
)
def test_bad_headers(header: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode_header(bytes.fromhex(header))
    with pytest.raises(CodecError, match=message):
        decode_header(b"...." + bytes.fromhex(header), 4)


def test_a_header_behind_the_end_is_cut_off() -> None:
    with pytest.raises(CodecError, match="cut off"):
        decode_header(encode_frame(Keepalive()), 1)


def test_the_longest_frame() -> None:
    longest = TreeAnnouncementFrame(bytes(MAX_FRAME_LENGTH - 12))
    assert len(encode_frame(longest)) == MAX_FRAME_LENGTH
    assert decode_frame(encode_frame(longest)) == longest


_TOO_LONG: list[Frame] = [
    TreeAnnouncementFrame(bytes(MAX_FRAME_LENGTH - 11)),
    TreeAnnouncementFrame(bytes(MAX_FRAME_LENGTH + 1)),
    UnknownFrame(9, bytes(MAX_FRAME_LENGTH - 9)),
    TrafficFrame((1,) * 40_000, (1,) * 30_000, KEY, KEY, FULL, b""),
]
_NO_ENCODING: list[Frame] = [
    Keepalive(extra=256),
    Keepalive(hop_limit=-1),
    Keepalive(version=256),
    UnknownFrame(256, b""),
    WakeupBroadcastFrame(KEY[1:], b""),
    BootstrapFrame(KEY, Watermark(KEY + b"\0", 0), b""),
    BootstrapFrame(KEY, Watermark(KEY, 2**64), b""),
    TrafficFrame((), (-1,), KEY, KEY, FULL, b""),
]


@pytest.mark.parametrize("frame", [*_TOO_LONG, *_NO_ENCODING], ids=lambda frame: type(frame).__name__)
def test_frames_without_an_encoding(frame: Frame) -> None:
    with pytest.raises(CodecError):
        encode_frame(frame)
