# SPDX-License-Identifier: Apache-2.0
"""Snapshots of tree and snake for the admin API."""

from pineconed.router.snapshots import snake_snapshot, tree_snapshot
from tests.unit.router.desk import SIGNERS, STRONGEST, WEAKEST, Desk, bootstrap


def test_tree_of_a_node_alone() -> None:
    desk = Desk()
    tree = tree_snapshot(desk.router, desk.seconds)
    assert (tree.root, tree.coords, tree.path, tree.peers) == (desk.root, (), [], [])
    assert (tree.parent_port, tree.parent_key, tree.parent_age_seconds) == (None, None, None)


def test_tree_names_the_path_from_the_root_and_what_peers_announced() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[7])
    desk.follow(2, WEAKEST)
    desk.advance(2.5)
    tree = tree_snapshot(desk.router, desk.seconds)
    assert (tree.parent_port, tree.parent_key, tree.parent_age_seconds) == (1, SIGNERS[7].public_key, 2.5)
    assert tree.path == [(STRONGEST.public_key, 1), (SIGNERS[7].public_key, 2)]
    assert [(peer.port, peer.coords, peer.is_parent) for peer in tree.peers] == [
        (1, (1,), True),
        (2, (), False),
    ]


def test_snake_is_shown_in_pages() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.follow(2, WEAKEST)
    for signer in SIGNERS[1:5]:
        desk.router.handle_bootstrap(2, bootstrap(signer, desk.root), desk.now)
    first = snake_snapshot(desk.router, desk.seconds + 1, None, 3)
    assert [entry.public_key for entry in first.entries] == [s.public_key for s in SIGNERS[1:4]]
    assert (first.total, first.next_cursor) == (4, SIGNERS[3].public_key)
    assert first.descending is not None
    assert (first.descending.public_key, first.descending.age_seconds) == (SIGNERS[4].public_key, 1.0)
    rest = snake_snapshot(desk.router, desk.seconds, first.next_cursor, 3)
    assert [entry.public_key for entry in rest.entries] == [SIGNERS[4].public_key]
    assert rest.next_cursor is None
    assert snake_snapshot(Desk().router, 0.0, None, 3).descending is None
