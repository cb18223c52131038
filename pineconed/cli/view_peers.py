# SPDX-License-Identifier: Apache-2.0
"""What `peers` prints: a table, or with `--long` everything about each peer."""

from collections.abc import Sequence

from pineconed.admin import schema
from pineconed.cli.blocks import Block, Cell, Column, Fact, Facts, Note, Table, cell, short_address, short_key
from pineconed.cli.cells import drops_cell, round_trip_cell, span_cell, yes_no
from pineconed.cli.plain_rows import struct_table
from pineconed.cli.units import (
    NONE,
    coords_text,
    duration_text,
    number_plain,
    rate_text,
    round_trip_text,
    size_text,
)

_STYLES = {"up": "green", "handshake": "yellow", "connecting": "yellow", "waiting": "red"}

_LINKED = ("up", "handshake")

_NO_PEERS = "No peers. Add one with 'pineconectl add-peer tcp://host:port'."
_NONE_UP = "No peering is up."
_NO_MATCH = "No peer fits. 'pineconectl peers' shows all there are."


def peers_plain(peers: Sequence[schema.Peer]) -> list[Block]:
    """One table of all peers with the names of the JSON; the last column may hold spaces."""
    return [struct_table(peers, schema.Peer, last="last_error")]


def peers_terminal(peers: Sequence[schema.Peer], *, selected: bool = False) -> list[Block]:
    """The peerings, then the configured peers that are down with the reason.

    With `selected` these are only those that somebody asked for, so nothing is said of all the others.
    """
    if not peers:
        return [_nobody(selected)]
    linked = [peer for peer in peers if peer.state in _LINKED]
    down = [peer for peer in peers if peer.state not in _LINKED]
    blocks: list[Block] = []
    if linked or not selected:
        blocks.append(Table(_LINKED_COLUMNS, [_linked_row(peer) for peer in linked], empty=_NONE_UP))
    if up := [peer for peer in linked if peer.state == "up"]:
        blocks.append(Note(_proof_note(up)))
    if any(peer.is_parent for peer in linked):
        blocks.append(Note("* the parent: the peering towards the root of the tree"))
    if down:
        blocks.append(Table(_DOWN_COLUMNS, [_down_row(peer) for peer in down], heading="Down"))
    return blocks


def _proof_note(up: Sequence[schema.Peer]) -> str:
    proven = sum(peer.proven for peer in up)
    if proven == len(up):
        return "keys: all proven, by tls"
    return f"keys: {proven} of {len(up)} proven, by tls; the others are what the peers say"


def peers_long(peers: Sequence[schema.Peer], *, selected: bool = False) -> list[Block]:
    """Everything about each peer, one block each."""
    return [Facts(_facts(peer), heading=_heading(peer)) for peer in peers] or [_nobody(selected)]


def _nobody(selected: bool) -> Note:
    return Note(_NO_MATCH if selected else _NO_PEERS)


def _heading(peer: schema.Peer) -> str:
    if peer.port is not None:
        return f"port {peer.port}: {peer.address}"
    return f"{peer.state}: {peer.uri or peer.remote or NONE}"


# ---------------------------------------------------------------- the table of peerings

_LINKED_COLUMNS = (
    Column("port", "PORT", keep=100, right=True),
    Column("address", "ADDRESS", keep=95, shorten=short_address, shorten_at=88),
    Column("uri", "URI", keep=90, least=21),
    Column("direction", "DIRECTION", keep=50),
    Column("proven", "PROVEN", keep=60),
    Column("type", "TYPE", keep=40),
    Column("source", "SOURCE", keep=42),
    Column("uptime_seconds", "UP FOR", keep=70, right=True),
    Column("rtt_seconds", "RTT", keep=85, right=True),
    Column("rx_bytes_per_second", "IN/S", keep=80, right=True),
    Column("tx_bytes_per_second", "OUT/S", keep=80, right=True),
    Column("rx_traffic_bytes", "TRAFFIC IN", keep=65, right=True),
    Column("tx_traffic_bytes", "TRAFFIC OUT", keep=65, right=True),
    Column("rx_protocol_bytes", "PROTOCOL IN", keep=30, right=True),
    Column("tx_protocol_bytes", "PROTOCOL OUT", keep=30, right=True),
    Column("drops", "DROPS", keep=68, right=True),
    Column("coords", "COORDS", keep=35),
    Column("public_key", "PUBLIC KEY", keep=45, shorten=short_key),
)


def _linked_row(peer: schema.Peer) -> list[Cell]:
    drops = sum(peer.drops.values())
    return [
        cell(peer.port, f"{NONE if peer.port is None else peer.port}{'*' if peer.is_parent else ''}"),
        cell(peer.address, peer.address or f"({peer.state})", "" if peer.address else _STYLES[peer.state]),
        cell(peer.uri, peer.uri or peer.remote or NONE),
        cell(peer.direction),
        yes_no(peer.proven),
        cell(peer.type, _type_text(peer)),
        cell(peer.source, peer.source or NONE),
        cell(peer.uptime_seconds, duration_text(peer.uptime_seconds)),
        cell(peer.rtt_seconds, round_trip_text(peer.rtt_seconds)),
        cell(peer.rx_bytes_per_second, rate_text(peer.rx_bytes_per_second)),
        cell(peer.tx_bytes_per_second, rate_text(peer.tx_bytes_per_second)),
        cell(peer.rx_traffic_bytes, size_text(peer.rx_traffic_bytes)),
        cell(peer.tx_traffic_bytes, size_text(peer.tx_traffic_bytes)),
        cell(peer.rx_protocol_bytes, size_text(peer.rx_protocol_bytes)),
        cell(peer.tx_protocol_bytes, size_text(peer.tx_protocol_bytes)),
        cell(drops, f"{drops:,}", "yellow" if drops else ""),
        cell(coords_text(peer.coords)),
        cell(peer.public_key),
    ]


def _type_text(peer: schema.Peer) -> str:
    """With what tells one of its kind from the others: the network, or how strongly it is received."""
    if peer.type == "multicast":
        return f"multicast {peer.zone}"
    return peer.type if peer.rssi_dbm is None else f"{peer.type} {peer.rssi_dbm} dBm"


# ---------------------------------------------------------------- the table of those that are down

_DOWN_COLUMNS = (
    Column("uri", "URI", keep=100, least=21, folds=True),
    Column("state", "STATE", keep=70),
    Column("next_try_seconds", "NEXT TRY", keep=80, right=True),
    Column("attempts", "TRIES", keep=60, right=True),
    Column("last_error", "LAST ERROR", keep=90, least=30, folds=True),
)


def _down_row(peer: schema.Peer) -> list[Cell]:
    wait = peer.next_try_seconds
    return [
        cell(peer.uri),
        cell(peer.state, style=_STYLES[peer.state]),
        cell(wait, "now" if wait is None else f"in {duration_text(wait)}"),
        cell(peer.attempts),
        cell(peer.last_error),
    ]


# ---------------------------------------------------------------- everything about a peer


def _facts(peer: schema.Peer) -> list[Fact]:
    return [
        Fact("port", "port", cell(peer.port)),
        Fact("public_key", "public key", cell(peer.public_key), short_key),
        Fact("address", "address", cell(peer.address)),
        Fact("uri", "URI", cell(peer.uri)),
        Fact("remote", "remote end", cell(peer.remote)),
        Fact("direction", "direction", cell(peer.direction)),
        Fact("scheme", "scheme", cell(peer.scheme)),
        Fact("proven", "key proven", _if_linked(peer, yes_no(peer.proven))),
        Fact("type", "type", cell(peer.type)),
        Fact("zone", "zone", cell(peer.zone)),
        Fact("state", "state", cell(peer.state, style=_STYLES[peer.state])),
        Fact("source", "source", cell(peer.source, peer.source or "nobody")),
        Fact("is_parent", "parent", _if_linked(peer, yes_no(peer.is_parent))),
        Fact("announced", "announced", _if_linked(peer, yes_no(peer.announced))),
        Fact("coords", "coords", cell(coords_text(peer.coords))),
        Fact("root", "root", cell(peer.root.public_key if peer.root else None), short_key),
        Fact("uptime_seconds", "up for", span_cell(peer.uptime_seconds)),
        Fact("idle_seconds", "last heard", span_cell(peer.idle_seconds, " ago")),
        Fact("rtt_seconds", "round trip", round_trip_cell(peer.rtt_seconds)),
        *_radio_facts(peer),
        *_byte_facts(peer),
        Fact("rx_frames", "frames in", _if_linked(peer, cell(peer.rx_frames, f"{peer.rx_frames:,}"))),
        Fact("tx_frames", "frames out", _if_linked(peer, cell(peer.tx_frames, f"{peer.tx_frames:,}"))),
        Fact(
            "queued_bytes", "queued", _if_linked(peer, cell(peer.queued_bytes, size_text(peer.queued_bytes)))
        ),
        Fact("drops", "drops", _if_linked(peer, drops_cell(peer.drops))),
        Fact("attempts", "tries", cell(peer.attempts)),
        Fact("next_try_seconds", "next try", span_cell(peer.next_try_seconds)),
        Fact("last_error", "last error", cell(peer.last_error)),
    ]


def _radio_facts(peer: schema.Peer) -> list[Fact]:
    rssi = None if peer.rssi_dbm is None else f"{peer.rssi_dbm} dBm"
    return [
        Fact("rssi_dbm", "signal", cell(peer.rssi_dbm, rssi or NONE)),
        Fact("psm", "PSM", cell(peer.psm, NONE if peer.psm is None else f"{peer.psm:#x}")),
        Fact("mtu_in", "MTU in", cell(peer.mtu_in)),
        Fact("mtu_out", "MTU out", cell(peer.mtu_out)),
    ]


def _byte_facts(peer: schema.Peer) -> list[Fact]:
    sizes = (
        ("rx_bytes", "in", peer.rx_bytes),
        ("tx_bytes", "out", peer.tx_bytes),
        ("rx_traffic_bytes", "traffic in", peer.rx_traffic_bytes),
        ("tx_traffic_bytes", "traffic out", peer.tx_traffic_bytes),
        ("rx_protocol_bytes", "protocol in", peer.rx_protocol_bytes),
        ("tx_protocol_bytes", "protocol out", peer.tx_protocol_bytes),
    )
    rates = (
        ("rx_bytes_per_second", "rate in", peer.rx_bytes_per_second),
        ("tx_bytes_per_second", "rate out", peer.tx_bytes_per_second),
    )
    facts = [Fact(name, title, _if_linked(peer, cell(size, size_text(size)))) for name, title, size in sizes]
    return facts + [Fact(name, title, cell(number_plain(r), rate_text(r))) for name, title, r in rates]


def _if_linked(peer: schema.Peer, value: Cell) -> Cell:
    """For people, what a peering counts says nothing while there is none."""
    return value if peer.state in _LINKED else Cell(value.plain, NONE)
