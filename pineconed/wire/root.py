# SPDX-License-Identifier: Apache-2.0
"""The root of a spanning tree, as announcements, bootstraps and broadcasts name it (protocol section 1)."""

from typing import NamedTuple

from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_LENGTH, checked_key


class Root(NamedTuple):
    """A root and the sequence of its announcement; two roots are the same when both match."""

    public_key: bytes
    sequence: int


def encode_root(root: Root) -> bytes:
    """`key root_public_key`, `varu64 root_sequence`; CodecError for values that have no encoding."""
    return checked_key(root.public_key) + varu64.encode(root.sequence)


def decode_root(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[Root, int]:
    """The root at `offset` and the offset after it; CodecError when it is cut off or not minimal."""
    limit = len(data) if end is None else end
    key_end = offset + KEY_LENGTH
    if key_end > limit:
        raise CodecError("root cut off")
    sequence, after = varu64.decode_minimal(data, key_end, limit)
    return Root(bytes(data[offset:key_end]), sequence), after
