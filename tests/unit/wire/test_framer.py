# SPDX-License-Identifier: Apache-2.0
"""Cutting a peering's byte stream into frames, protocol section 3."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.wire.errors import CodecError
from pineconed.wire.frame import Keepalive, TreeAnnouncementFrame, encode_frame
from pineconed.wire.framer import Framer
from tests.unit.wire.strategies import FRAMES

KEEPALIVE = encode_frame(Keepalive())
LONG = encode_frame(TreeAnnouncementFrame(bytes(range(256)) * 40))
GARBAGE = b"GET / HTTP/1.1\r\n"


def _feed(framer: Framer, chunks: Iterable[bytes], max_frames: int = 256) -> tuple[list[bytes], str | None]:
    """The frames of a stream that is read chunk by chunk, and the error that it ends with, if any."""
    frames: list[bytes] = []
    for chunk in chunks:
        view = memoryview(bytearray(chunk))
        while True:
            try:
                found, consumed = framer.split(view, max_frames)
            except CodecError as error:
                return frames, str(error)
            assert len(found) <= max_frames
            frames += [bytes(frame) for frame in found]
            if consumed == len(view):
                break
            assert found
            view = view[consumed:]
    return frames, None


def _cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(places)]


@given(
    st.lists(FRAMES.map(encode_frame), max_size=8),
    st.lists(st.integers(0, 5000), max_size=12),
    st.sampled_from([b"", KEEPALIVE[:7], LONG[:500], GARBAGE, KEEPALIVE[:9] + b"\x09"]),
    st.integers(1, 5),
)
def test_the_same_frames_wherever_the_stream_is_cut(
    frames: list[bytes], cuts: list[int], tail: bytes, max_frames: int
) -> None:
    stream = b"".join(frames) + tail
    framer = Framer()
    expected_error = _feed(Framer(), [tail])[1]
    assert _feed(framer, _cut(stream, cuts), max_frames) == (frames, expected_error)
    if expected_error is None:
        assert framer.pending == len(tail)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_any_bytes_give_the_same_wherever_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    assert _feed(Framer(), _cut(stream, cuts)) == _feed(Framer(), [stream])


def test_byte_by_byte() -> None:
    stream = KEEPALIVE + LONG + KEEPALIVE
    framer = Framer()
    assert _feed(framer, [stream[i : i + 1] for i in range(len(stream))]) == (
        [KEEPALIVE, LONG, KEEPALIVE],
        None,
    )
    assert framer.pending == 0


def test_whole_frames_are_slices_of_the_read() -> None:
    buffer = bytearray(KEEPALIVE + LONG)
    frames, consumed = Framer().split(memoryview(buffer))
    assert consumed == len(buffer)
    assert [frame.obj for frame in frames] == [buffer, buffer]
    buffer[-1] ^= 0xFF
    assert frames[1][-1] == LONG[-1] ^ 0xFF


def test_only_a_frame_that_spans_reads_is_copied() -> None:
    framer = Framer()
    first, second = bytearray(KEEPALIVE + LONG[:100]), bytearray(LONG[100:] + KEEPALIVE + LONG[:3])
    frames, _ = framer.split(memoryview(first))
    assert [frame.obj for frame in frames] == [first]
    assert framer.pending == 100
    first[:] = bytes(len(first))  # the next read goes to the same buffer
    frames, consumed = framer.split(memoryview(second))
    assert consumed == len(second)
    assert frames[0].obj is not second
    assert frames[1].obj is second
    assert [bytes(frame) for frame in frames] == [LONG, KEEPALIVE]
    assert framer.pending == 3


def test_no_more_frames_than_asked_for() -> None:
    framer = Framer()
    view = memoryview(KEEPALIVE * 5 + KEEPALIVE[:4])
    frames, consumed = framer.split(view, 3)
    assert (len(frames), consumed, framer.pending) == (3, 30, 0)
    frames, consumed = framer.split(view[30:], 3)
    assert (len(frames), consumed, framer.pending) == (2, 24, 4)


def test_the_held_frame_counts_too() -> None:
    framer = Framer()
    framer.split(memoryview(KEEPALIVE[:4]))
    frames, consumed = framer.split(memoryview(KEEPALIVE[4:] + KEEPALIVE), 1)
    assert (len(frames), consumed, framer.pending) == (1, 6, 0)


def test_nothing_gives_nothing() -> None:
    framer = Framer()
    assert framer.split(memoryview(b"")) == ([], 0)
    framer.split(memoryview(KEEPALIVE[:4]))
    assert framer.split(memoryview(b"")) == ([], 0)
    assert framer.pending == 4


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GARBAGE, "magic"),
        (KEEPALIVE[:8] + b"\x00\x00", "length of 0"),
        (KEEPALIVE[:8] + b"\x00\x09", "length of 9"),
    ],
)
def test_a_bad_header_comes_after_the_frames_before_it(bad: bytes, message: str) -> None:
    framer = Framer()
    view = memoryview(KEEPALIVE + LONG + bad + KEEPALIVE)
    frames, consumed = framer.split(view)
    assert [bytes(frame) for frame in frames] == [KEEPALIVE, LONG]
    assert consumed == len(KEEPALIVE + LONG)
    with pytest.raises(CodecError, match=message):
        framer.split(view[consumed:])


def test_a_bad_header_that_spans_reads() -> None:
    framer = Framer()
    framer.split(memoryview(GARBAGE[:9]))
    assert framer.pending == 9
    with pytest.raises(CodecError, match="magic"):
        framer.split(memoryview(GARBAGE[9:]))
