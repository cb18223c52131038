# SPDX-License-Identifier: Apache-2.0
"""Traffic frames: from a peering onward or to this host, and from this host out (protocol section 6).

The flow of a frame from a peering (`forward`): everything between the payload length and the payload is the
frame's *fields*. What is to become of a frame depends on nothing but its fields, so the decision is kept by
them (`_Route`): most frames cost one dictionary look-up and one copy into the next hop's queue. Only a frame
whose fields were not seen lately is parsed (`_find_route`). The frames of this host (`send`) find their
fields in the same way by destination. A decision stands while the table's version does and until the entry
that it follows expires.

Every cache is bounded, and emptied when it is full; one that a peer fills with invented destinations is the
cache of that peering alone.
"""

import struct
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from pineconed.clock import NEVER
from pineconed.dataplane.counters import PORTS, DropCause
from pineconed.dataplane.next_hop import LOCAL, find_snake_hop, next_hop_tree
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords, decode_coords, encode_coords
from pineconed.wire.errors import CodecError
from pineconed.wire.frame import MAGIC, MAX_FRAME_LENGTH, FrameType
from pineconed.wire.keys import KEY_LENGTH, KEY_PADDING, KEY_PREFIX_LENGTH
from pineconed.wire.watermark import FULL, is_worse

LocalFrame = tuple[bytes, bytes, memoryview, int, int]
"""Source key, source coords as encoded in the frame (length included), payload, the header's extra byte, port
that it came by."""

MAX_DESTINATION_COORDS = 1024
"""Bytes of destination coords beyond which they count as absent."""

HOP_LIMIT = 10
"""What the frames of this host carry; nobody looks at it."""

ROUTES_PER_PORT = 256
MAX_ROUTE_FIELDS = 192
"""Bytes of fields above which a decision is not kept; honest ones have about 120."""

MAX_TEMPLATES = 1024

_FIELDS = 12
"""Offset of the fields in a frame."""
_SHORTEST = _FIELDS + 2 + 2 + 2 * KEY_LENGTH
_KEPT_UNTIL = _FIELDS + MAX_ROUTE_FIELDS
_NO_COORDS = b"\0\0"
_HEADER = struct.Struct(">4sBBBBHH")


class SendResult(Enum):
    """What became of a frame of our own."""

    QUEUED = "queued"
    NO_ROUTE = "no_route"
    TOO_BIG = "too_big"


class _Route(NamedTuple):
    """The decision for frames with the same fields, good for one version of the table until a time.

    `fields` replace the frame's if they are not None. Frames for this host have their source, frames to be
    dropped a cause; the others have neither.
    """

    version: int
    until: float
    port: int
    fields: bytes | None
    flow: int
    source: tuple[bytes, bytes] | None
    cause: DropCause | None


class _Template(NamedTuple):
    """The fields of our frames to one destination and the port that they leave by; 0 if there is no way."""

    version: int
    until: float
    port: int
    fields: bytes


class _Fields(NamedTuple):
    """The parsed fields of a frame; source coords stay encoded, overlong destination coords are absent."""

    destination: Coords
    source: bytes
    destination_key: bytes
    source_key: bytes
    watermark: tuple[bytes, int]

    def encode(self, watermark_key: bytes, sequence: int) -> bytes:
        """The same without destination coords and with another watermark."""
        keys = self.destination_key + self.source_key
        return b"".join((_NO_COORDS, self.source, keys, watermark_key, varu64.encode(sequence)))


def acceptable(
    next_hop: int, from_port: int, new_watermark: tuple[bytes, int], old_watermark: tuple[bytes, int]
) -> bool:
    """The general rule for traffic and bootstraps: a frame goes neither back nor on to a worse watermark."""
    return next_hop != from_port and not is_worse(new_watermark, old_watermark)


class Forwarder:
    """The per-packet path. `local` collects what arrived for this host; the node takes it every turn."""

    def __init__(
        self, table: ForwardingTable, queues: Queues, own_key: bytes, *, flow_key: bytes = b""
    ) -> None:
        """`flow_key` (at most 64 bytes) keeps strangers from choosing which flows share a queue."""
        self.local: list[LocalFrame] = []
        self._table = table
        self._queues = queues.by_port
        self._counters = queues.counters
        self._own_key = own_key
        self._own_prefix = own_key[:KEY_PREFIX_LENGTH] + KEY_PADDING
        self._flow_key = flow_key
        self._routes: list[dict[bytes, _Route]] = [{} for _ in range(PORTS)]
        self._templates: dict[tuple[bytes, Coords | None], _Template] = {}

    # From a peering

    def forward(self, frame: memoryview, from_port: int, now: float) -> None:
        """Take a whole traffic frame from a peering: queue it, deliver it to `local`, or drop it.

        Per-packet path. `now` is in seconds. CodecError when the body does not parse.
        """
        length = len(frame)
        self._counters.rx_frames[from_port] += 1
        self._counters.rx_bytes[from_port] += length
        start = length - (frame[10] << 8 | frame[11]) if length >= _SHORTEST else 0
        if start < _SHORTEST:
            raise CodecError(f"a traffic frame of {length} bytes whose lengths do not add up")
        fields = frame[_FIELDS:start].tobytes()
        route = self._routes[from_port].get(fields) if start <= _KEPT_UNTIL else None
        if route is None or route[0] != self._table.version or now >= route[1]:
            route = self._find_route(fields, from_port, now)
        _, _, port, new_fields, flow, source, cause = route
        if source is not None:
            self.local.append((*source, frame[start:], frame[6], from_port))
            return
        if cause is not None:
            self._counters.drop(cause, from_port)
            return
        queue = self._queues[port]
        if queue is None:
            self._counters.drop(DropCause.NO_QUEUE, from_port)
            return
        if new_fields is None:
            queue.push_traffic(frame.tobytes(), length, flow ^ frame[6], from_port)
            return
        grown = len(new_fields) - len(fields)
        if not grown:
            copy = b"".join((frame[:_FIELDS], new_fields, frame[start:]))
        elif length + grown <= MAX_FRAME_LENGTH:
            length += grown
            copy = b"".join((frame[:8], length.to_bytes(2), frame[10:_FIELDS], new_fields, frame[start:]))
        else:
            self._counters.drop(DropCause.TOO_LONG, from_port)
            return
        queue.push_traffic(copy, length, flow ^ frame[6], from_port)

    def _find_route(self, fields: bytes, from_port: int, now: float) -> _Route:
        """Parse and decide, and keep the decision."""
        route = self._decide(_parse(fields), from_port, now)
        if len(fields) <= MAX_ROUTE_FIELDS:
            routes = self._routes[from_port]
            if len(routes) >= ROUTES_PER_PORT:
                routes.clear()
            routes[fields] = route
        return route

    def _decide(self, fields: _Fields, from_port: int, now: float) -> _Route:
        version = self._table.version
        source = (fields.source_key, fields.source)
        key = fields.destination_key
        if key == self._own_key:
            return _Route(version, NEVER, LOCAL, None, 0, source, None)
        if fields.destination:
            port = next_hop_tree(self._table, fields.destination, from_port)
            port = self._table.faster.get(port or LOCAL, port)
            if port and port != from_port:
                return _Route(version, NEVER, port, None, self._flow(fields), None, None)
            if port == LOCAL and key == self._own_prefix:
                return _Route(version, NEVER, LOCAL, None, 0, source, None)
        hop = find_snake_hop(self._table, key, False, fields.watermark, now)
        while not fields.destination and hop[0] == from_port and self._forget_stale(hop[1], from_port):
            hop = find_snake_hop(self._table, key, False, fields.watermark, now)
        return self._decide_along_snake(fields, from_port, hop)

    def _forget_stale(self, key: bytes, from_port: int) -> bool:
        """Forget a path that leads back to the peer that gave it to us and sends us frames for it instead.

        That peer has lost it; whoever else knows the way is found by the next look-up.
        """
        entry = self._table.entries.get(key)
        if entry is None or entry.source_port != from_port:
            return False
        self._table.remove_entry(key)
        return True

    def _decide_along_snake(
        self, fields: _Fields, from_port: int, hop: tuple[int | None, bytes, int, float]
    ) -> _Route:
        version = self._table.version
        port, watermark_key, sequence, until = hop
        port = self._table.faster.get(port or LOCAL, port)
        if port == from_port:
            cause = DropCause.SENT_BACK
        elif is_worse((watermark_key, sequence), fields.watermark):
            cause = DropCause.WORSE_WATERMARK
        elif port:
            encoded = fields.encode(watermark_key, sequence)
            return _Route(version, until, port, encoded, self._flow(fields), None, None)
        elif fields.destination_key == self._own_prefix:
            return _Route(version, until, LOCAL, None, 0, (fields.source_key, fields.source), None)
        else:
            cause = DropCause.NO_ROUTE
        return _Route(version, until, LOCAL, None, 0, None, cause)

    def _flow(self, fields: _Fields) -> int:
        """The flow of two nodes' frames; the header's extra byte tells apart what they carry."""
        keys = fields.source_key + fields.destination_key
        return blake2b(keys, digest_size=1, key=self._flow_key).digest()[0]

    # From this host

    def send(
        self,
        destination_key: bytes,
        destination_coords: Coords | None,
        payload: Buffer | tuple[Buffer, ...],
        flow: int,
        extra: int,
        now: float,
    ) -> SendResult:
        """Queue a frame of our own; `flow` and `extra` are eight bits each, `now` is in seconds.

        Per-packet path. The payload, whole or in pieces, is not copied and must not change until it is sent.
        Coords that do not fit the frame, or 1,024 bytes, are left out; it then goes along the snake.
        """
        template = self._templates.get((destination_key, destination_coords))
        if template is None or template[0] != self._table.version or now >= template[1]:
            template = self._find_template(destination_key, destination_coords, now)
        _, _, port, fields = template
        queue = self._queues[port]
        if queue is None:
            self._counters.drop(DropCause.NO_QUEUE if port else DropCause.NO_ROUTE, LOCAL)
            return SendResult.NO_ROUTE
        pieces = payload if isinstance(payload, tuple) else (payload,)
        payload_length = sum(map(len, pieces))
        length = _FIELDS + len(fields) + payload_length
        if length > MAX_FRAME_LENGTH:
            if destination_coords:
                return self.send(destination_key, None, payload, flow, extra, now)
            self._counters.drop(DropCause.TOO_LONG, LOCAL)
            return SendResult.TOO_BIG
        header = _HEADER.pack(MAGIC, 0, FrameType.TRAFFIC, extra, HOP_LIMIT, length, payload_length) + fields
        queue.push_traffic((header, *pieces), length, flow, LOCAL)
        return SendResult.QUEUED

    def _find_template(self, key: bytes, coords: Coords | None, now: float) -> _Template:
        template = self._make_template(key, coords, now)
        if len(self._templates) >= MAX_TEMPLATES:
            self._templates.clear()
        self._templates[key, coords] = template
        return template

    def _make_template(self, key: bytes, coords: Coords | None, now: float) -> _Template:
        table = self._table
        destination = encode_coords(coords or ())
        if coords and key != self._own_key and len(destination) - 2 <= MAX_DESTINATION_COORDS:
            port = next_hop_tree(table, coords, LOCAL)
            if port:
                port = table.faster.get(port, port)
                fields = b"".join((destination, table.encoded_coords, key, self._own_key))
                return _Template(table.version, NEVER, port, fields)
        hop, watermark_key, sequence, until = find_snake_hop(table, key, False, FULL, now)
        hop = table.faster.get(hop or LOCAL, hop)
        own = _Fields((), table.encoded_coords, key, self._own_key, FULL)
        return _Template(table.version, until, hop or LOCAL, own.encode(watermark_key, sequence))

    @property
    def source_coords(self) -> bytes:
        """Our coords as `send` encodes them into the next frame, their length included."""
        return self._table.encoded_coords

    def first_hop_type(
        self, destination_key: bytes, destination_coords: Coords | None, now: float
    ) -> int | None:
        """The peer type of the peering by which `send` would send; None where there is no way."""
        template = self._templates.get((destination_key, destination_coords))
        if template is None or template[0] != self._table.version or now >= template[1]:
            template = self._find_template(destination_key, destination_coords, now)
        port = template[2]
        row = self._table.peers.get(port)
        return None if row is None or self._queues[port] is None else row.peer_type

    def payload_limit(self) -> int:
        """The most bytes of payload that any frame of ours without destination coords can carry."""
        longest = len(self._table.encoded_coords) + 3 * KEY_LENGTH + varu64.MAX_LENGTH
        return MAX_FRAME_LENGTH - _FIELDS - len(_NO_COORDS) - longest

    # To this host

    def take_local(self) -> list[LocalFrame]:
        """What arrived for this host since the last call; payloads are views of what `forward` was given."""
        local, self.local = self.local, []
        return local


def _parse(fields: bytes) -> _Fields:
    """The fields of a frame; CodecError when they do not parse or are not exactly as long as they say."""
    source_at = 2 + int.from_bytes(fields[:2])
    keys_at = source_at + 2 + int.from_bytes(fields[source_at : source_at + 2])
    end = keys_at + 2 * KEY_LENGTH
    watermark: tuple[bytes, int] = FULL
    if source_at == 2:
        key_end = end + KEY_LENGTH
        sequence, end_of_watermark = varu64.decode(fields, key_end)
        watermark, end = (fields[end:key_end], sequence), end_of_watermark
    if end != len(fields):
        raise CodecError("a traffic frame whose lengths do not add up")
    destination: Coords = ()
    if source_at - 2 <= MAX_DESTINATION_COORDS:
        destination, _ = decode_coords(fields)
    middle = keys_at + KEY_LENGTH
    return _Fields(
        destination,
        fields[source_at:keys_at],
        fields[keys_at:middle],
        fields[middle : middle + KEY_LENGTH],
        watermark,
    )
