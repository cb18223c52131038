# SPDX-License-Identifier: Apache-2.0
"""Cutting the byte stream of a peering into frames (protocol section 3)."""

import struct

from pineconed.wire.frame import HEADER_LENGTH, MAGIC, decode_header

_MAGIC_AND_LENGTH = struct.Struct(">I4xH")
_MAGIC = int.from_bytes(MAGIC)


class Framer:
    """Cuts one stream into whole frames, wherever the reads cut it.

    A frame that one read holds whole is handed out as a slice of that read; only one that spans reads is
    copied. Nothing is kept but the bytes of the unfinished frame.
    """

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished = bytearray()

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not whole yet."""
        return len(self._unfinished)

    def split(self, view: memoryview, max_frames: int = 256) -> tuple[list[memoryview], int]:
        """Whole frames, header included, from what is held and the next bytes of the stream; bytes consumed.

        The frames are readable until the next call. Less than all of `view` is consumed only where
        `max_frames` (at least 1) were found, or where a bad header follows: hand the rest in again.
        CodecError on a bad header, once the frames before it are handed out; the stream is then of no use.
        """
        frames: list[memoryview] = []
        position = self._finish(view, frames) if self._unfinished else 0
        end = len(view)
        last_header = end - HEADER_LENGTH
        unpack = _MAGIC_AND_LENGTH.unpack_from
        while len(frames) < max_frames and position <= last_header:
            magic, length = unpack(view, position)
            if magic != _MAGIC or length < HEADER_LENGTH:
                if not frames:
                    decode_header(view, position)  # says what is wrong with it
                return frames, position
            frame_end = position + length
            if frame_end > end:
                break
            frames.append(view[position:frame_end])
            position = frame_end
        if len(frames) < max_frames:
            self._unfinished += view[position:]
            position = end
        return frames, position

    def _finish(self, view: memoryview, frames: list[memoryview]) -> int:
        """Adds to the unfinished frame, and hands it out when it is whole; how much of `view` it took."""
        held = self._unfinished
        taken = max(0, HEADER_LENGTH - len(held))
        held += view[:taken]
        if len(held) < HEADER_LENGTH:
            return len(view)
        length = decode_header(held).length
        end = taken + length - len(held)
        held += view[taken:end]
        if len(held) < length:
            return len(view)
        frames.append(memoryview(held))
        self._unfinished = bytearray()
        return end
