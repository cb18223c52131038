# SPDX-License-Identifier: Apache-2.0
"""Watermarks: how far along the snake a frame has come (protocol section 3)."""

from typing import NamedTuple

from pineconed.wire.keys import KEY_LENGTH


class Watermark(NamedTuple):
    """The key that the frame was last sent towards, and the sequence of that key's entry (0: no entry)."""

    public_key: bytes
    sequence: int


FULL_KEY = b"\xff" * KEY_LENGTH
"""The key above all others."""

FULL = Watermark(FULL_KEY, 0)
"""The watermark of a frame that has gone nowhere yet."""


def is_worse(a: tuple[bytes, int], b: tuple[bytes, int]) -> bool:
    """Whether watermark `a` is further from the goal than `b`: a frame never moves on to a worse one."""
    if a[0] == b[0]:
        return 0 != a[1] < b[1]
    return a[0] > b[0]
