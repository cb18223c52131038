# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the control plane for the admin API, taken without changing anything.

Keys are raw bytes, times seconds.
"""

from bisect import bisect_right
from dataclasses import dataclass

from pineconed.router.peer import by_port
from pineconed.router.router import Router
from pineconed.router.snake import Entry
from pineconed.wire.coordinates import Coords
from pineconed.wire.root import Root

MAX_ROWS = 1000
"""Rows that one snapshot holds at the most."""


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


def tree_snapshot(router: Router, now: float) -> TreeSnapshot:
    """Our place in the tree and what each peer announced; `now` in seconds."""
    tree = router.tree
    parent = tree.parent
    heard = parent.heard if parent else None
    return TreeSnapshot(
        root=tree.root,
        coords=tree.coords,
        parent_port=parent.port if parent else None,
        parent_key=parent.public_key if parent else None,
        parent_age_seconds=now - heard.received_at if heard else None,
        path=[(hop.public_key, hop.port) for hop in tree.followed.hops],
        peers=_tree_peers(router, now),
    )


def _tree_peers(router: Router, now: float) -> list[TreePeer]:
    return [
        TreePeer(
            port=peer.port,
            public_key=peer.public_key,
            root=peer.heard.root,
            coords=peer.heard.announcement.peer_coords,
            order=peer.heard.order,
            age_seconds=now - peer.heard.received_at,
            is_parent=peer is router.tree.parent,
        )
        for peer in by_port(router.peers)
        if peer.heard
    ]


def snake_snapshot(router: Router, now: float, after: bytes | None, limit: int) -> SnakeSnapshot:
    """The paths whose keys follow `after` (None: from the first), at most `limit` and `MAX_ROWS`."""
    snake = router.snake
    keys = sorted(snake.entries)
    start = 0 if after is None else bisect_right(keys, after)
    page = keys[start : start + min(limit, MAX_ROWS)]
    more = start + len(page) < len(keys)
    return SnakeSnapshot(
        descending=_row(snake.descending, now) if snake.descending else None,
        entries=[_row(snake.entries[key], now) for key in page],
        total=len(keys),
        limit=snake.shares.limit,
        next_cursor=page[-1] if more and page else None,
    )


def _row(entry: Entry, now: float) -> SnakeEntry:
    return SnakeEntry(
        public_key=entry.public_key,
        sequence=entry.sequence,
        source_port=entry.source,
        destination_port=entry.destination,
        age_seconds=now - entry.last_seen,
        root=entry.root,
    )
