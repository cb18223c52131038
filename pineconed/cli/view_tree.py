# SPDX-License-Identifier: Apache-2.0
"""What `tree` and `snake` print."""

from pineconed.admin import schema
from pineconed.cli.blocks import Block, Cell, Column, Fact, Facts, Note, Table, cell, short_address, short_key
from pineconed.cli.cells import span_cell
from pineconed.cli.plain_rows import struct_table
from pineconed.cli.units import coords_text, duration_text

# ---------------------------------------------------------------- tree


def tree_plain(tree: schema.Tree) -> list[Block]:
    """Facts, the path from the root, the peers."""
    return [
        Facts(_tree_facts(tree)),
        struct_table(tree.path, schema.PathStep),
        struct_table(tree.peers, schema.TreePeer),
    ]


def tree_terminal(tree: schema.Tree) -> list[Block]:
    """The same for people."""
    blocks: list[Block] = [Facts(_tree_facts(tree))]
    if tree.path:
        rows = [_path_row(index, step) for index, step in enumerate(tree.path)]
        blocks.append(Table(_PATH_COLUMNS, rows, heading="From the root to this node"))
    peers = [_tree_peer_row(peer, tree) for peer in tree.peers]
    blocks.append(
        Table(_TREE_COLUMNS, peers, heading="Announced by peers", empty="No peer has announced anything.")
    )
    return blocks


def _tree_facts(tree: schema.Tree) -> list[Fact]:
    is_root = tree.parent is None
    return [
        Fact(
            "root.public_key",
            "root",
            cell(tree.root.public_key, "this node" if is_root else None),
            short_key,
        ),
        Fact("root.sequence", "sequence", cell(tree.root.sequence)),
        Fact("coords", "coords", cell(coords_text(tree.coords))),
        Fact(
            "parent",
            "parent",
            cell(tree.parent, "none: this node is the root" if is_root else None),
            short_key,
        ),
        Fact("parent_port", "parent's port", cell(tree.parent_port)),
        Fact("parent_age_seconds", "announced", span_cell(tree.parent_age_seconds, " ago")),
    ]


_PATH_COLUMNS = (
    Column("hop", "HOP", keep=70, right=True),
    Column("address", "ADDRESS", keep=100, shorten=short_address, shorten_at=95),
    Column("port", "LEADS ON BY PORT", keep=90, right=True),
    Column("public_key", "PUBLIC KEY", keep=50, shorten=short_key),
)


def _path_row(index: int, step: schema.PathStep) -> list[Cell]:
    return [cell(index), cell(step.address), cell(step.port), cell(step.public_key)]


_TREE_COLUMNS = (
    Column("port", "PORT", keep=100, right=True),
    Column("address", "ADDRESS", keep=95, shorten=short_address, shorten_at=88),
    Column("coords", "COORDS", keep=90, least=12),
    Column("root", "ROOT", keep=85, shorten=short_key),
    Column("sequence", "SEQUENCE", keep=40, right=True),
    Column("age_seconds", "AGE", keep=80, right=True),
    Column("order", "ORDER", keep=60, right=True),
    Column("public_key", "PUBLIC KEY", keep=50, shorten=short_key),
)


def _tree_peer_row(peer: schema.TreePeer, tree: schema.Tree) -> list[Cell]:
    same = peer.root.public_key == tree.root.public_key
    return [
        cell(peer.port, f"{peer.port}{'*' if peer.is_parent else ''}"),
        cell(peer.address),
        cell(coords_text(peer.coords)),
        cell(peer.root.public_key, "same" if same else None, "" if same else "yellow"),
        cell(peer.root.sequence),
        cell(peer.age_seconds, duration_text(peer.age_seconds)),
        cell(peer.order),
        cell(peer.public_key),
    ]


# ---------------------------------------------------------------- snake


def snake_plain(snake: schema.Snake) -> list[Block]:
    """Facts, then the rows of the table."""
    below = snake.descending
    facts = [
        Fact("total", "rows", cell(snake.total)),
        Fact("capacity", "room for", cell(snake.capacity)),
        Fact("descending", "next lower key", cell(below.public_key if below else None)),
        Fact("next_cursor", "", cell(snake.next_cursor)),
    ]
    return [Facts(facts), struct_table(snake.entries, schema.SnakeEntry)]


def snake_terminal(snake: schema.Snake) -> list[Block]:
    """The same for people."""
    below = snake.descending
    facts = [
        Fact("descending", "next lower key", _below(below), short_key),
        Fact("address", "its address", cell(below.address if below else None)),
        Fact("total", "rows", cell(snake.total, f"{snake.total:,} of at most {snake.capacity:,}")),
    ]
    rows = [_entry_row(entry) for entry in snake.entries]
    blocks: list[Block] = [
        Facts(facts),
        Table(_SNAKE_COLUMNS, rows, empty="No path of the snake leads through this node."),
    ]
    if snake.next_cursor is not None:
        blocks.append(Note(f"{len(rows):,} of {snake.total:,} rows; --limit N shows more."))
    return blocks


def _below(entry: schema.SnakeEntry | None) -> Cell:
    return cell(entry.public_key) if entry else cell(None, "none is known: this may be the lowest")


_SNAKE_COLUMNS = (
    Column("address", "ADDRESS", keep=100, shorten=short_address, shorten_at=85),
    Column("source_port", "PORT", keep=95, right=True),
    Column("destination_port", "GOES ON BY", keep=80, right=True),
    Column("age_seconds", "AGE", keep=90, right=True),
    Column("sequence", "SEQUENCE", keep=40, right=True),
    Column("root", "ROOT", keep=30, shorten=short_key),
    Column("public_key", "PUBLIC KEY", keep=70, shorten=short_key),
)


def _entry_row(entry: schema.SnakeEntry) -> list[Cell]:
    return [
        cell(entry.address),
        cell(entry.source_port),
        cell(entry.destination_port, str(entry.destination_port) if entry.destination_port else "ends here"),
        cell(entry.age_seconds, duration_text(entry.age_seconds)),
        cell(entry.sequence),
        cell(entry.root.public_key),
        cell(entry.public_key),
    ]
