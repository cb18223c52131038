# SPDX-License-Identifier: Apache-2.0
"""Frames: a 10-byte header and a body by type (protocol section 3).

Reading is as tolerant as the reference: bytes behind the payload are ignored, except in traffic, where the
lengths must add up; so are an unknown version and the body of a keepalive.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords, decode_coords, encode_coords
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_LENGTH, checked_key
from pineconed.wire.watermark import FULL, Watermark

MAGIC = b"pine"
HEADER_LENGTH = 10
MAX_FRAME_LENGTH = 65535

_HEADER = struct.Struct(">4sBBBBH")


class FrameType(IntEnum):
    """The types of protocol section 3; frames of any other type are dropped."""

    KEEPALIVE = 0
    TREE_ANNOUNCEMENT = 1
    BOOTSTRAP = 2
    TRAFFIC = 3
    WAKEUP_BROADCAST = 4


class FrameHeader(NamedTuple):
    """The header's fields behind the magic; `length` counts the whole frame, the header included."""

    version: int
    type: int
    extra: int
    hop_limit: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The header fields that travel unchanged through the network, each one byte."""

    extra: int = 0
    hop_limit: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Keepalive(_Header):
    """Says only that the sender is there."""


@dataclass(frozen=True, slots=True)
class TreeAnnouncementFrame(_Header):
    """To a direct peer; the payload is an `Announcement`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class BootstrapFrame(_Header):
    """A node making itself known along the snake; the payload is a `SignedPayload` of `destination_key`."""

    destination_key: bytes
    watermark: Watermark
    payload: bytes


@dataclass(frozen=True, slots=True)
class TrafficFrame(_Header):
    """Data between two nodes. With destination coordinates no watermark travels: it is read as `FULL`."""

    destination: Coords
    source: Coords
    destination_key: bytes
    source_key: bytes
    watermark: Watermark
    payload: bytes


@dataclass(frozen=True, slots=True)
class WakeupBroadcastFrame(_Header):
    """Tells the neighbourhood that `source_key` is there; the payload is a `SignedPayload` of that key."""

    source_key: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class UnknownFrame(_Header):
    """A frame of a type that this version does not know."""

    type: int
    body: bytes


Frame = (
    Keepalive | TreeAnnouncementFrame | BootstrapFrame | TrafficFrame | WakeupBroadcastFrame | UnknownFrame
)


def encode_frame(frame: Frame) -> bytes:
    """The whole frame; CodecError when it is longer than 65535 bytes or a value has no encoding."""
    frame_type, body = _encode_body(frame)
    length = HEADER_LENGTH + len(body)
    if length > MAX_FRAME_LENGTH:
        raise CodecError(f"a frame of {length} bytes")
    try:
        header = _HEADER.pack(MAGIC, frame.version, frame_type, frame.extra, frame.hop_limit, length)
    except struct.error as error:
        raise CodecError("a header field does not fit its byte") from error
    return header + body


def _encode_body(frame: Frame) -> tuple[int, bytes]:
    match frame:
        case Keepalive():
            return FrameType.KEEPALIVE, b""
        case TreeAnnouncementFrame():
            return FrameType.TREE_ANNOUNCEMENT, _with_payload(b"", frame.payload)
        case BootstrapFrame():
            fields = checked_key(frame.destination_key) + _encode_watermark(frame.watermark)
            return FrameType.BOOTSTRAP, _with_payload(fields, frame.payload)
        case TrafficFrame():
            return FrameType.TRAFFIC, _with_payload(_encode_traffic_fields(frame), frame.payload)
        case WakeupBroadcastFrame():
            return FrameType.WAKEUP_BROADCAST, _with_payload(checked_key(frame.source_key), frame.payload)
        case unknown:
            return unknown.type, unknown.body


def _with_payload(fields: bytes, payload: bytes) -> bytes:
    if len(payload) > MAX_FRAME_LENGTH:
        raise CodecError(f"a payload of {len(payload)} bytes")
    return b"".join((len(payload).to_bytes(2), fields, payload))


def _encode_watermark(watermark: Watermark) -> bytes:
    return checked_key(watermark.public_key) + varu64.encode(watermark.sequence)


def _encode_traffic_fields(frame: TrafficFrame) -> bytes:
    return b"".join(
        (
            encode_coords(frame.destination),
            encode_coords(frame.source),
            checked_key(frame.destination_key),
            checked_key(frame.source_key),
            b"" if frame.destination else _encode_watermark(frame.watermark),
        )
    )


def decode_header(data: Buffer, offset: int = 0) -> FrameHeader:
    """The header at `offset`; CodecError when it is cut off, on another magic or on a length under 10."""
    if len(data) - offset < HEADER_LENGTH:
        raise CodecError("frame header cut off")
    magic, version, frame_type, extra, hop_limit, length = _HEADER.unpack_from(data, offset)
    if magic != MAGIC:
        raise CodecError(f"a frame begins with {magic.hex()}, not the magic bytes")
    if length < HEADER_LENGTH:
        raise CodecError(f"a frame length of {length}")
    return FrameHeader(version, frame_type, extra, hop_limit, length)


def decode_frame(data: Buffer) -> Frame:
    """The frame that `data` holds, whole and alone; CodecError when it does not parse."""
    header = decode_header(data)
    if header.length != len(data):
        raise CodecError(f"a frame length of {header.length} in a frame of {len(data)} bytes")
    match header.type:
        case FrameType.KEEPALIVE:
            return Keepalive(**_travelling(header))
        case FrameType.TREE_ANNOUNCEMENT:
            return _decode_tree_announcement(data, header)
        case FrameType.BOOTSTRAP:
            return _decode_bootstrap(data, header)
        case FrameType.TRAFFIC:
            return _decode_traffic(data, header)
        case FrameType.WAKEUP_BROADCAST:
            return _decode_wakeup_broadcast(data, header)
        case unknown:
            return UnknownFrame(unknown, bytes(data[HEADER_LENGTH:]), **_travelling(header))


def _decode_tree_announcement(data: Buffer, header: FrameHeader) -> TreeAnnouncementFrame:
    length, start = _read_payload_length(data)
    payload, _ = _read(data, start, length)
    return TreeAnnouncementFrame(payload, **_travelling(header))


def _decode_bootstrap(data: Buffer, header: FrameHeader) -> BootstrapFrame:
    length, offset = _read_payload_length(data)
    destination_key, offset = _read(data, offset, KEY_LENGTH)
    watermark, offset = _read_watermark(data, offset)
    payload, _ = _read(data, offset, length)
    return BootstrapFrame(destination_key, watermark, payload, **_travelling(header))


def _decode_traffic(data: Buffer, header: FrameHeader) -> TrafficFrame:
    length, offset = _read_payload_length(data)
    destination, offset = decode_coords(data, offset)
    source, offset = decode_coords(data, offset)
    destination_key, offset = _read(data, offset, KEY_LENGTH)
    source_key, offset = _read(data, offset, KEY_LENGTH)
    watermark, offset = (FULL, offset) if destination else _read_watermark(data, offset)
    payload, end = _read(data, offset, length)
    if end != len(data):
        raise CodecError(f"a traffic frame of {len(data)} bytes whose fields end at {end}")
    return TrafficFrame(
        destination, source, destination_key, source_key, watermark, payload, **_travelling(header)
    )


def _decode_wakeup_broadcast(data: Buffer, header: FrameHeader) -> WakeupBroadcastFrame:
    length, offset = _read_payload_length(data)
    source_key, offset = _read(data, offset, KEY_LENGTH)
    payload, _ = _read(data, offset, length)
    return WakeupBroadcastFrame(source_key, payload, **_travelling(header))


def _travelling(header: FrameHeader) -> dict[str, int]:
    """The header fields that every frame keeps, as keyword arguments."""
    return {"extra": header.extra, "hop_limit": header.hop_limit, "version": header.version}


def _read(data: Buffer, offset: int, length: int) -> tuple[bytes, int]:
    end = offset + length
    if end > len(data):
        raise CodecError(f"a frame of {len(data)} bytes whose fields end at {end}")
    return bytes(data[offset:end]), end


def _read_payload_length(data: Buffer) -> tuple[int, int]:
    field, end = _read(data, HEADER_LENGTH, 2)
    return int.from_bytes(field), end


def _read_watermark(data: Buffer, offset: int) -> tuple[Watermark, int]:
    public_key, offset = _read(data, offset, KEY_LENGTH)
    sequence, offset = varu64.decode(data, offset)
    return Watermark(public_key, sequence), offset
