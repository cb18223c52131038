# SPDX-License-Identifier: Apache-2.0
"""The five messages of a session, as they stand in the payload of a traffic frame.

Each begins with its type, three zero bytes and an index: the number that the *receiver* chose for the
handshake or session, but for INIT, where it is the sender's own.
"""

import struct
from enum import IntEnum

from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError


class MessageType(IntEnum):
    """The first byte."""

    INIT = 1
    RESPONSE = 2
    CONFIRM = 3
    DATA = 4
    UNKNOWN = 5


HEADER_LENGTH = 8
DATA_HEADER_LENGTH = 16
TAG_LENGTH = 16

DATA_OVERHEAD = DATA_HEADER_LENGTH + TAG_LENGTH
"""Bytes that DATA adds to its plaintext."""

INIT_LENGTH = 1400
"""Every INIT in a frame is padded to this, so that no answer to a stranger is longer than the question."""

RESPONSE_LIMIT = INIT_LENGTH

LAST_MESSAGE_BYTE = 0x3F
"""Payloads that begin with a byte from 1 up to this are session messages."""

DATA_HEADER = struct.Struct(">IIQ")
DATA_WORD = MessageType.DATA << 24
"""The first four bytes of DATA."""

_HEADER = struct.Struct(">II")


def encode_header(message_type: MessageType, index: int) -> bytes:
    """The first 8 bytes."""
    return _HEADER.pack(message_type << 24, index)


def pad_init(message: bytes) -> bytes:
    """An INIT as it stands in a frame."""
    return message.ljust(INIT_LENGTH, b"\0")


def encode_unknown(index: int, counter: int) -> bytes:
    """UNKNOWN about the DATA with this index and counter."""
    return DATA_HEADER.pack(MessageType.UNKNOWN << 24, index, counter)


def decode_header(message: Buffer) -> tuple[int, int]:
    """Type and index; CodecError when it is cut off or the bytes between are not zero."""
    if len(message) < HEADER_LENGTH:
        raise CodecError(f"a session message of {len(message)} bytes")
    word, index = _HEADER.unpack_from(message)
    if word & 0xFFFFFF:
        raise CodecError("a session message whose bytes 1 to 3 are not zero")
    return word >> 24, index


def decode_counter(message: Buffer) -> int:
    """The counter of DATA or UNKNOWN; CodecError when it is cut off."""
    if len(message) < DATA_HEADER_LENGTH:
        raise CodecError(f"DATA or UNKNOWN of {len(message)} bytes")
    return int.from_bytes(message[HEADER_LENGTH:DATA_HEADER_LENGTH])
