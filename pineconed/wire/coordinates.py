# SPDX-License-Identifier: Apache-2.0
"""Coordinates: the ports on the way down the spanning tree, from the root to a node (protocol section 1)."""

from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError

Coords = tuple[int, ...]
"""One port per step from the root; a root's own are empty."""

MAX_COORDS_LENGTH = 0xFFFF
"""Bytes of ports that the length field can name."""


def encode_coords(coords: Coords) -> bytes:
    """`u16 byte_length` and the ports; CodecError when they do not fit it or are no varu64."""
    ports = b"".join(map(varu64.encode, coords))
    if len(ports) > MAX_COORDS_LENGTH:
        raise CodecError(f"coordinates of {len(ports)} bytes do not fit their length field")
    return len(ports).to_bytes(2) + ports


def decode_coords(data: Buffer, offset: int = 0, end: int | None = None) -> tuple[Coords, int]:
    """The coordinates at `offset` and the offset after them; CodecError when they do not end before `end`."""
    limit = len(data) if end is None else end
    start = offset + 2
    if start > limit:
        raise CodecError("coordinates cut off")
    stop = start + (data[offset] << 8 | data[offset + 1])
    if stop > limit:
        raise CodecError("coordinates cut off")
    ports = bytes(data[start:stop])
    return (tuple(ports) if ports.isascii() else _decode_ports(ports)), stop


def _decode_ports(ports: bytes) -> Coords:
    """Ports of any size; where all are below 128, each is simply its byte."""
    coords = []
    position = 0
    while position < len(ports):
        port, position = varu64.decode(ports, position)
        coords.append(port)
    return tuple(coords)


def distance(a: Coords, b: Coords) -> int:
    """Steps between two places of the tree, up to the common ancestor and down again."""
    common = 0
    for port_a, port_b in zip(a, b, strict=False):
        if port_a != port_b:
            break
        common += 1
    return len(a) + len(b) - 2 * common
