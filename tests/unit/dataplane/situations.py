# SPDX-License-Identifier: Apache-2.0
"""Situations in which next hops are decided: from the vectors, at random, and as a forwarding table."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from pineconed.dataplane.table import ForwardingTable, PeerAnnouncement
from pineconed.wire.root import Root
from tests.unit.dataplane.oracle import (
    LIFETIME,
    OracleAnnouncement,
    OracleEntry,
    OracleNode,
    OraclePeer,
)

NOW = 1000.0


def key(number: int) -> bytes:
    """A key that sorts as its number does."""
    return number.to_bytes(32)


# From the vectors


def from_vector(vector: Mapping[str, Any]) -> OracleNode:
    """What a vector of either next-hop file describes."""
    root = (bytes.fromhex(vector["root_public_key"]), vector["root_sequence"])
    return OracleNode(
        own_key=bytes.fromhex(vector.get("self", "00" * 32)),
        root=root,
        coords=tuple(vector.get("coords", ())),
        parent=vector.get("parent_port"),
        peers={peer["port"]: _peer_from_vector(peer) for peer in vector["peers"]},
        entries=[
            OracleEntry(
                bytes.fromhex(entry["public_key"]),
                entry["sequence"],
                entry["source_port"],
                NOW - entry["age_seconds"],
            )
            for entry in vector.get("entries", ())
        ],
    )


def _peer_from_vector(peer: Mapping[str, Any]) -> OraclePeer:
    told = peer["announcement"]
    announcement = told and OracleAnnouncement(
        (bytes.fromhex(told["root_public_key"]), told["root_sequence"]),
        tuple((hop["port"], bytes.fromhex(hop["public_key"])) for hop in told["hops"]),
        told["receive_order"],
    )
    return OraclePeer(bytes.fromhex(peer["public_key"]), peer["peer_type"], peer["started"], announcement)


# As a table


def as_table(node: OracleNode) -> ForwardingTable:
    """A forwarding table that was told all that the oracle knows."""
    table = ForwardingTable(node.own_key)
    table.set_self(node.coords, Root(*node.root))
    table.set_parent(node.parent)
    for port, peer in node.peers.items():
        tell_peer(table, port, peer)
    for entry in node.entries:
        tell_entry(table, entry)
    return table


def tell_peer(table: ForwardingTable, port: int, peer: OraclePeer) -> None:
    told = peer.announcement
    announcement = None
    if told:
        signers = tuple(signer for _, signer in told.hops)
        announcement = PeerAnnouncement(Root(*told.root), told.coords, signers, told.order)
    table.set_peer(port, peer.public_key, peer.peer_type, peer.live, announcement)


def tell_entry(table: ForwardingTable, entry: OracleEntry) -> None:
    table.set_entry(entry.public_key, entry.sequence, entry.source, entry.last_seen + LIFETIME)


# At random, from so few keys, ports and sequences that ties and equal keys are common

keys = st.integers(0, 12).map(key)
roots = st.tuples(st.integers(8, 12).map(key), st.integers(1, 2))
ports = st.integers(1, 5)
coords = st.lists(st.integers(1, 3), max_size=4).map(tuple)
watermarks = st.one_of(st.just((b"\xff" * 32, 0)), st.tuples(st.integers(0, 14).map(key), st.integers(0, 4)))
entries = st.builds(
    OracleEntry, keys, st.integers(0, 4), ports, st.sampled_from((NOW, NOW - 5, NOW - LIFETIME, NOW - 11))
)


@st.composite
def peers(draw: st.DrawFn) -> OraclePeer:
    public_key = draw(keys)
    root = draw(roots)
    # A real announcement begins with its root and ends with its peer; an invented one need not.
    signers = draw(st.lists(keys, max_size=3))
    if draw(st.booleans()):
        signers = [root[0], *signers, public_key]
    hops = tuple((draw(st.integers(1, 3)), signer) for signer in signers)
    announcement = OracleAnnouncement(root, hops, draw(st.integers(1, 30)))
    announced = draw(st.sampled_from((True, True, True, False)))
    return OraclePeer(
        public_key, draw(st.integers(2, 4)), draw(st.booleans()), announcement if announced else None
    )


@st.composite
def nodes(draw: st.DrawFn) -> OracleNode:
    found = draw(st.dictionaries(ports, peers(), max_size=5))
    parent = draw(st.sampled_from((None, *sorted(found))))
    told = found[parent].announcement if parent is not None else None
    own_key = draw(keys)
    root = told.root if told else draw(st.one_of(st.just((own_key, 1)), roots))
    listed = draw(st.lists(entries, max_size=8, unique_by=lambda entry: entry.public_key))
    return OracleNode(own_key, root, draw(coords), parent, found, listed)
