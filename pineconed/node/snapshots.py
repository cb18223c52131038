# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the node for the admin API, taken without changing anything.

Keys are raw bytes, times seconds, sizes bytes.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pineconed.dataplane.forward import acceptable
from pineconed.dataplane.next_hop import LOCAL, next_hop_snake, next_hop_tree
from pineconed.node.link import Link
from pineconed.node.parts import Parts
from pineconed.overlay.address import address_of, destination_key_of
from pineconed.router.peer import Direction, PeerType
from pineconed.wire.coordinates import Coords
from pineconed.wire.keys import KEY_PADDING, KEY_PREFIX_LENGTH
from pineconed.wire.root import Root
from pineconed.wire.watermark import FULL, Watermark


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
    proven: bool
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
class RouteSnapshot:
    """Where a traffic frame for a key would leave, and why, in words.

    `destination_key` is the whole key if only a prefix was asked for, but its owner has proved it.
    """

    destination_key: bytes
    method: Literal["local", "snake", "tree", "none"]
    next_port: int | None
    next_key: bytes | None
    watermark: Watermark
    explanation: str


def node_status(parts: Parts, now: float) -> NodeStatus:
    """The node as a whole; `now` in seconds."""
    tree = parts.router.tree
    return NodeStatus(
        public_key=tree.own_key,
        address=address_of(tree.own_key),
        coords=tree.coords,
        root=tree.root,
        parent=tree.parent.public_key if tree.parent else None,
        peers=len(parts.router.peers),
        uptime_seconds=now - parts.started_at,
        drops=_drops(parts),
        counters=_counters(parts),
    )


def _drops(parts: Parts) -> dict[str, int]:
    return {
        **parts.queues.counters.drops(),
        **parts.endpoint.drops(),
        **parts.router.dropped,
        "no_free_port": parts.ports.refused,
    }


def _counters(parts: Parts) -> dict[str, int]:
    router = parts.router
    return {
        "announcements_sent": router.tree.announcements_sent,
        "bootstraps_sent": router.snake.bootstraps_sent,
        "snake_entries": len(router.snake.entries),
        "broadcasters_seen": len(router.broadcasts.seen),
        **parts.endpoint.sessions.counts(),
    }


def peering_snapshot(parts: Parts, link: Link, now: float) -> PeeringSnapshot:
    """One link; `now` in seconds."""
    peer = parts.router.peers.get(link.port or 0)
    heard = peer.heard if peer else None
    traffic = _traffic(parts, link)
    return PeeringSnapshot(
        link=link.number,
        port=link.port,
        public_key=link.peering.public_key,
        peer_type=link.options.peer_type,
        zone=link.options.zone,
        uri=link.options.uri,
        direction=link.options.direction,
        configured=link.options.configured,
        proven=link.options.proven_key is not None,
        state="handshake" if link.port is None else "up",
        uptime_seconds=now - link.opened_at,
        idle_seconds=now - link.peering.last_heard,
        announced=heard is not None,
        is_parent=peer is not None and peer is parts.router.tree.parent,
        coords=heard.announcement.peer_coords if heard else None,
        root=heard.root if heard else None,
        rx_bytes=link.rx_bytes,
        tx_bytes=link.tx_bytes,
        rx_traffic_bytes=traffic.rx_bytes,
        tx_traffic_bytes=traffic.tx_bytes,
        rx_protocol_bytes=link.rx_bytes - traffic.rx_bytes,
        tx_protocol_bytes=link.tx_bytes - traffic.tx_bytes,
        rx_frames=link.rx_frames,
        tx_frames=traffic.tx_frames,
        queued_bytes=traffic.queued_bytes,
        drops={**traffic.drops, **link.drops},
    )


class _Traffic(NamedTuple):
    """What the data plane counted for one link; `tx_frames` counts protocol frames too."""

    rx_bytes: int
    tx_bytes: int
    tx_frames: int
    queued_bytes: int
    drops: dict[str, int]


def _traffic(parts: Parts, link: Link) -> _Traffic:
    if link.port is None:
        return _Traffic(0, 0, 0, 0, {})
    counters, queue = parts.queues.counters, parts.queues[link.port]
    return _Traffic(
        rx_bytes=counters.rx_bytes[link.port],
        tx_bytes=counters.tx_bytes[link.port],
        tx_frames=counters.tx_frames[link.port] + counters.tx_protocol_frames[link.port],
        queued_bytes=queue.size,
        drops=counters.drops_at(link.port),
    )


def route_snapshot(parts: Parts, destination_key: bytes, now: float) -> RouteSnapshot:
    """Where a traffic frame of ours for this key, or this zero-padded prefix, would leave, and why."""
    own_key = parts.router.tree.own_key
    if destination_key in (own_key, destination_key_of(address_of(own_key))):
        return RouteSnapshot(
            destination_key, "local", LOCAL, own_key, FULL, "This is the node's own key: packets stay here."
        )
    destination_key, coords = _proved(parts, destination_key, now)
    if coords and (port := next_hop_tree(parts.table, coords, LOCAL)):
        port = parts.table.faster.get(port, port)
        next_key = parts.router.peers[port].public_key
        why = _why_tree(coords, destination_key, next_key)
        return RouteSnapshot(destination_key, "tree", port, next_key, FULL, why)
    port, key, sequence = next_hop_snake(parts.table, destination_key, False, FULL, now)
    port = parts.table.faster.get(port or LOCAL, port)
    watermark = Watermark(key, sequence)
    if not port or not acceptable(port, LOCAL, watermark, FULL):
        return RouteSnapshot(destination_key, "none", None, None, FULL, _why_none(parts))
    next_key = parts.router.peers[port].public_key
    why = _why_snake(parts, destination_key, key, next_key)
    return RouteSnapshot(destination_key, "snake", port, next_key, watermark, why)


def _proved(parts: Parts, key: bytes, now: float) -> tuple[bytes, Coords | None]:
    """The key to send to, and the coords that its owner proved in a session, if they are fresh."""
    known, prefix = parts.endpoint.sessions.context.known, key[:KEY_PREFIX_LENGTH]
    proved = known.key_of(prefix)
    if proved is None or key not in (proved, prefix + KEY_PADDING):
        return key, None
    return proved, known.coords(prefix, now)


def _why_tree(coords: Coords, destination_key: bytes, next_key: bytes) -> str:
    where = " ".join(map(str, coords))
    hop = "it is a direct peer" if next_key == destination_key else "this peer is the closest to there"
    return f"The node said in its session where in the tree it is, at [{where}]: {hop}."


def _why_none(parts: Parts) -> str:
    if not parts.router.peers:
        return "No peer is connected: packets get the ICMPv6 answer 'no route'."
    return "No node that is known is closer to this key than this node itself: packets get 'no route'."


def _why_snake(parts: Parts, destination_key: bytes, key: bytes, next_key: bytes) -> str:
    if key == destination_key:
        aim = "The destination itself is known"
    elif destination_key == key[:KEY_PREFIX_LENGTH] + KEY_PADDING:
        aim = "The one node with this address is known"
    else:
        aim = (
            "The snake has no path to this key here; the closest key above it goes on from there. "
            "It belongs to a node"
        )
    if key == next_key:
        return f"{aim}: a direct peer."
    return f"{aim}: {_kind_of(parts, key)}, reached through this peer."


def _kind_of(parts: Parts, key: bytes) -> str:
    router = parts.router
    if key == router.tree.root.public_key:
        return "the root of the tree"
    if key in router.snake.entries:
        return "one whose bootstraps came by lately"
    return "one on a peer's way to the root"
