# SPDX-License-Identifier: Apache-2.0
"""Pictures of the control plane for the admin API, taken without changing anything."""

from bisect import bisect_right

from pineconed.router.peer import by_port
from pineconed.router.router import Router
from pineconed.router.snake import Entry
from pineconed.router.snapshots import SnakeEntry, SnakeSnapshot, TreePeer, TreeSnapshot

MAX_ROWS = 1000
"""Rows that one snapshot holds at the most."""


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
