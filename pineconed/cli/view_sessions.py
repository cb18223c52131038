# SPDX-License-Identifier: Apache-2.0
"""What `sessions` prints: a table, or with `--long` everything about each session."""

from collections.abc import Sequence

from pineconed.admin import schema
from pineconed.cli.blocks import Block, Cell, Column, Fact, Facts, Note, Table, cell, short_address, short_key
from pineconed.cli.cells import drops_cell, round_trip_cell, span_cell, yes_no
from pineconed.cli.plain_rows import struct_table
from pineconed.cli.units import NONE, size_text

_STATES = {
    "up": Cell("up", "up", "green"),
    "dialling": Cell("dialling", "dialling", "yellow"),
    "failed": Cell("failed", "failed", "red"),
    "bare": Cell("bare", "in the clear", "bold red"),
}

_NONE = "No sessions. One begins with the first packet to another node: try 'pineconectl ping ADDRESS'."
_NO_MATCH = "No session with this node. 'pineconectl ping' begins one."
_IN_CLEAR = "In the clear: every node on the way can read and forge these packets (overlay.bare_ipv6)."
_UP_AND_LISTED = Cell("up", "up *", "yellow")
_LISTED = (
    "* has a session, but is listed in overlay.bare_ipv6, too: anybody can forge packets from it. Take it "
    "off the list."
)


def sessions_plain(page: schema.Sessions) -> list[Block]:
    """One table with the names of the JSON."""
    return [struct_table(page.sessions, schema.Session)]


def sessions_terminal(page: schema.Sessions, *, selected: bool = False) -> list[Block]:
    """The same for people; `selected` says that they asked for one node."""
    rows = page.sessions
    if not rows:
        return [Note(_NO_MATCH if selected else _NONE)]
    blocks: list[Block] = [Table(_COLUMNS, [_row(session) for session in rows])]
    if any(session.state == "bare" for session in rows):
        blocks.append(Note(_IN_CLEAR))
    return [*blocks, *_listed(page), *_more(page)]


def sessions_long(page: schema.Sessions, *, selected: bool = False) -> list[Block]:
    """Everything about each session, one block each."""
    blocks: list[Block] = [Facts(_facts(session), heading=session.address) for session in page.sessions]
    return [*blocks, *_listed(page), *_more(page)] or [Note(_NO_MATCH if selected else _NONE)]


def _listed(page: schema.Sessions) -> Sequence[Block]:
    return [Note(_LISTED)] if any(_state(session) is _UP_AND_LISTED for session in page.sessions) else []


def _more(page: schema.Sessions) -> Sequence[Block]:
    if page.next_cursor is None:
        return []
    return [Note(f"{len(page.sessions):,} of {page.total:,} rows; --limit N shows more.")]


# ---------------------------------------------------------------- the table

_COLUMNS = (
    Column("address", "ADDRESS", keep=100, shorten=short_address, shorten_at=88),
    Column("state", "STATE", keep=95),
    Column("cipher", "CIPHER", keep=60),
    Column("hybrid", "HYBRID", keep=40),
    Column("age_seconds", "AGE", keep=70, right=True),
    Column("last_heard_seconds", "HEARD", keep=80, right=True),
    Column("rtt_seconds", "RTT", keep=85, right=True),
    Column("rx_bytes", "IN", keep=75, right=True),
    Column("tx_bytes", "OUT", keep=75, right=True),
    Column("rx_packets", "PACKETS IN", keep=50, right=True),
    Column("tx_packets", "PACKETS OUT", keep=50, right=True),
    Column("drops", "DROPS", keep=65, right=True),
    Column("path", "PATH", keep=55),
    Column("public_key", "PUBLIC KEY", keep=30, shorten=short_key),
)


def _row(session: schema.Session) -> list[Cell]:
    drops = sum(session.drops.values())
    return [
        cell(session.address),
        _state(session),
        cell(session.cipher),
        _hybrid(session),
        span_cell(session.age_seconds),
        span_cell(session.last_heard_seconds, " ago"),
        round_trip_cell(session.rtt_seconds),
        cell(session.rx_bytes, size_text(session.rx_bytes)),
        cell(session.tx_bytes, size_text(session.tx_bytes)),
        cell(session.rx_packets, f"{session.rx_packets:,}"),
        cell(session.tx_packets, f"{session.tx_packets:,}"),
        cell(drops, f"{drops:,}", "yellow" if drops else ""),
        cell(session.path),
        cell(session.public_key),
    ]


# ---------------------------------------------------------------- everything about a session


def _facts(session: schema.Session) -> list[Fact]:
    return [
        Fact("address", "address", cell(session.address)),
        Fact("public_key", "public key", cell(session.public_key), short_key),
        Fact("state", "state", _state(session)),
        Fact("in_clear", "", yes_no(session.in_clear)),
        Fact("cipher", "cipher", cell(session.cipher)),
        Fact("hybrid", "hybrid", _hybrid(session)),
        Fact("initiator", "began by", cell(yes_no(session.initiator).plain, _initiator(session))),
        Fact("path", "path", cell(session.path)),
        Fact("keys", "keys held", cell(session.keys)),
        Fact("age_seconds", "age", span_cell(session.age_seconds)),
        Fact("key_age_seconds", "age of keys", span_cell(session.key_age_seconds)),
        Fact("last_heard_seconds", "last heard", span_cell(session.last_heard_seconds, " ago")),
        Fact("rtt_seconds", "round trip", round_trip_cell(session.rtt_seconds)),
        Fact("waiting_packets", "waiting", cell(session.waiting_packets)),
        Fact("rx_packets", "packets in", cell(session.rx_packets, f"{session.rx_packets:,}")),
        Fact("tx_packets", "packets out", cell(session.tx_packets, f"{session.tx_packets:,}")),
        Fact("rx_bytes", "in", cell(session.rx_bytes, size_text(session.rx_bytes))),
        Fact("tx_bytes", "out", cell(session.tx_bytes, size_text(session.tx_bytes))),
        Fact("drops", "drops", drops_cell(session.drops)),
    ]


def _state(session: schema.Session) -> Cell:
    return _UP_AND_LISTED if session.in_clear and session.state == "up" else _STATES[session.state]


def _hybrid(session: schema.Session) -> Cell:
    told = yes_no(session.hybrid)
    return told if session.state == "up" else Cell(told.plain, NONE)


def _initiator(session: schema.Session) -> str:
    if session.state != "up":
        return NONE
    return "this node" if session.initiator else "the other node"
