# SPDX-License-Identifier: Apache-2.0
"""What the two sides tell each other inside the handshake: type, length and value, in any order."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from pineconed.overlay.icmpv6 import MIN_MTU
from pineconed.wire.coordinates import decode_coords
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_LENGTH

_HEAD = struct.Struct(">BH")


class ItemType(IntEnum):
    """What an item is; other types are skipped."""

    PUBLIC_KEY = 1
    CIPHERS = 2
    COORDS = 3
    MTU = 4
    PACKET = 6
    INDEX = 7
    FEATURES = 8


_LENGTHS = {ItemType.PUBLIC_KEY: KEY_LENGTH, ItemType.MTU: 2, ItemType.INDEX: 4, ItemType.FEATURES: 4}
_KNOWN = frozenset(ItemType)


@dataclass(frozen=True, slots=True)
class Items:
    """The items of one side; those that are None or empty are left out.

    public_key: its Ed25519 key. ciphers: what it prefers, one byte each. coords: its place in the tree,
    encoded with their length as in a frame. mtu: of its interface, in bytes. packet: the first that waited,
    from the initiator. index: the responder's own. features: a bit mask.
    """

    public_key: bytes
    ciphers: bytes = b""
    coords: bytes | None = None
    mtu: int | None = None
    packet: bytes | None = None
    index: int | None = None
    features: int = 0

    @property
    def packet_limit(self) -> int:
        """Bytes of the longest packet that this side takes."""
        return max(self.mtu or 0, MIN_MTU)


def encode_items(items: Items) -> bytes:
    """The payload; CodecError when a value is too long for its length field."""
    values = {
        ItemType.PUBLIC_KEY: items.public_key,
        ItemType.CIPHERS: items.ciphers or None,
        ItemType.COORDS: items.coords,
        ItemType.MTU: None if items.mtu is None else items.mtu.to_bytes(2),
        ItemType.PACKET: items.packet,
        ItemType.INDEX: None if items.index is None else items.index.to_bytes(4),
        ItemType.FEATURES: items.features.to_bytes(4) if items.features else None,
    }
    return b"".join(_encode(item, value) for item, value in values.items() if value is not None)


def _encode(item: ItemType, value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise CodecError(f"an item of {len(value)} bytes")
    return _HEAD.pack(item, len(value)) + value


def decode_items(payload: bytes) -> Items:
    """The items of a payload; CodecError when it is cut off, has no key, or an item malformed or twice."""
    values: dict[int, bytes] = {}
    offset = 0
    while offset < len(payload):
        if offset + _HEAD.size > len(payload):
            raise CodecError("handshake payload cut off")
        item, length = _HEAD.unpack_from(payload, offset)
        offset += _HEAD.size + length
        if offset > len(payload):
            raise CodecError("handshake payload cut off")
        if item in _KNOWN:
            if item in values or length != _LENGTHS.get(ItemType(item), length):
                raise CodecError(f"handshake item {item} of {length} bytes is malformed or there twice")
            values[item] = payload[offset - length : offset]
    if ItemType.PUBLIC_KEY not in values:
        raise CodecError("handshake payload without a public key")
    return Items(
        values[ItemType.PUBLIC_KEY],
        values.get(ItemType.CIPHERS, b""),
        _checked_coords(values.get(ItemType.COORDS)),
        _integer(values.get(ItemType.MTU)),
        values.get(ItemType.PACKET),
        _integer(values.get(ItemType.INDEX)),
        _integer(values.get(ItemType.FEATURES)) or 0,
    )


def _integer(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value)


def _checked_coords(value: bytes | None) -> bytes | None:
    if value is not None and decode_coords(value)[1] != len(value):
        raise CodecError("handshake item with coords and more")
    return value
