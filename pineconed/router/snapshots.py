# SPDX-License-Identifier: Apache-2.0
"""Read-only pictures of a node for the admin API. Keys are raw bytes, times seconds, sizes bytes."""

from dataclasses import dataclass
from typing import Literal

from pineconed.router.peer import Direction, PeerType
from pineconed.wire.coordinates import Coords
from pineconed.wire.root import Root
from pineconed.wire.watermark import Watermark


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The node as a whole. `drops` counts by cause what was dropped, `counters` everything else."""

    public_key: bytes
    address: bytes
    coords: Coords
    root: Root
    parent: bytes | None
    peers: int
    uptime_seconds: float
    drops: dict[str, int]
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class PeeringSnapshot:
    """One link; `port` and what follows from the handshake is None until that is done."""

    link: int
    port: int | None
    public_key: bytes | None
    peer_type: PeerType
    zone: str
    uri: str
    direction: Direction
    configured: bool
    state: Literal["handshake", "up"]
    uptime_seconds: float
    idle_seconds: float
    announced: bool
    is_parent: bool
    coords: Coords | None
    root: Root | None
    rx_bytes: int
    tx_bytes: int
    rx_traffic_bytes: int
    tx_traffic_bytes: int
    rx_protocol_bytes: int
    tx_protocol_bytes: int
    rx_frames: int
    tx_frames: int
    queued_bytes: int
    drops: dict[str, int]


@dataclass(frozen=True, slots=True)
class TreePeer:
    """What a peer announced: its root, its own coords and when it did so."""

    port: int
    public_key: bytes
    root: Root
    coords: Coords
    order: int
    age_seconds: float
    is_parent: bool


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """The place of the node in the spanning tree. `path` leads from the root to us: (signer, port)."""

    root: Root
    coords: Coords
    parent_port: int | None
    parent_key: bytes | None
    parent_age_seconds: float | None
    path: list[tuple[bytes, int]]
    peers: list[TreePeer]


@dataclass(frozen=True, slots=True)
class SnakeEntry:
    """One path of the virtual snake that leads through this node."""

    public_key: bytes
    sequence: int
    source_port: int
    destination_port: int | None
    age_seconds: float
    root: Root


@dataclass(frozen=True, slots=True)
class SnakeSnapshot:
    """The snake table, in key order; `next_cursor` is the key to go on after, None at the end."""

    descending: SnakeEntry | None
    entries: list[SnakeEntry]
    total: int
    limit: int
    next_cursor: bytes | None


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """Where a traffic frame for a key would leave, and why, in words."""

    destination_key: bytes
    method: Literal["local", "snake", "tree", "none"]
    next_port: int | None
    next_key: bytes | None
    watermark: Watermark
    explanation: str
