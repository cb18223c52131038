# SPDX-License-Identifier: Apache-2.0
"""Variable-length integers (protocol section 1): 7 bits a byte, most significant group first."""

from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError

MAX_VALUE = 2**64 - 1
MAX_LENGTH = 10
"""Bytes that the longest encoding takes."""


def encode(value: int) -> bytes:
    """The minimal encoding; CodecError unless 0 <= value < 2^64."""
    if not 0 <= value <= MAX_VALUE:
        raise CodecError(f"{value} is no unsigned 64-bit integer")
    encoded = bytearray((value & 0x7F,))
    while value := value >> 7:
        encoded.append(value & 0x7F | 0x80)
    encoded.reverse()
    return bytes(encoded)


def decode(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[int, int]:
    """The integer at `offset` and the offset after it; nothing at or beyond `end` is read.

    Encodings with leading zero groups are accepted. CodecError when it is cut off, longer than 10 bytes or
    above 2^64 - 1.
    """
    limit = len(data) if end is None else end
    value = 0
    for position in range(offset, min(limit, offset + MAX_LENGTH)):
        byte = data[position]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            if value > MAX_VALUE:
                raise CodecError("varu64 above 2^64 - 1")
            return value, position + 1
    raise CodecError("varu64 cut off" if limit - offset < MAX_LENGTH else "varu64 longer than 10 bytes")


def decode_minimal(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[int, int]:
    """As `decode`, and CodecError also when the encoding is longer than it needs to be."""
    value, after = decode(data, offset, end)
    if data[offset] == 0x80:
        raise CodecError("varu64 not minimal")
    return value, after
