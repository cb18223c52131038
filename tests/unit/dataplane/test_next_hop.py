# SPDX-License-Identifier: Apache-2.0
"""Next hops: the reference's vectors and a plain oracle against the very functions that the daemon uses."""

import timeit
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.clock import NEVER
from pineconed.dataplane.forward import acceptable
from pineconed.dataplane.next_hop import find_snake_hop, next_hop_snake, next_hop_tree
from pineconed.dataplane.table import ForwardingTable, PeerAnnouncement
from pineconed.wire.coordinates import Coords
from pineconed.wire.root import Root
from tests.unit.dataplane import oracle
from tests.unit.dataplane.oracle import OracleAnnouncement, OracleEntry, OracleNode, OraclePeer
from tests.unit.dataplane.situations import (
    NOW,
    as_table,
    coords,
    entries,
    from_vector,
    key,
    keys,
    nodes,
    peers,
    ports,
    roots,
    tell_entry,
    tell_peer,
    watermarks,
)
from tests.vectors_source import load_vectors

FULL = (b"\xff" * 32, 0)


# Vectors


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("next_hop_snake"))
def test_snake_vector(vector: dict[str, Any]) -> None:
    node = from_vector(vector)
    destination = bytes.fromhex(vector["destination_key"])
    watermark = (bytes.fromhex(vector["watermark_key"]), vector["watermark_sequence"])
    outcomes = [
        (outcome["next_hop"], bytes.fromhex(outcome["watermark_key"]), outcome["watermark_sequence"])
        for outcome in vector["outcomes"]
    ]
    asked = (destination, vector["bootstrap"], watermark, NOW)
    found = next_hop_snake(as_table(node), *asked)
    assert found in outcomes
    assert oracle.snake(node, *asked) == found
    worse = vector["outcomes"][outcomes.index(found)]["worse"]
    assert acceptable(1, 2, found[1:], watermark) is not worse


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("next_hop_tree"))
def test_tree_vector(vector: dict[str, Any]) -> None:
    node = from_vector(vector)
    asked = (tuple(vector["destination"]), vector["from_port"])
    found = next_hop_tree(as_table(node), *asked)
    assert found in vector["outcomes"]
    assert oracle.tree(node, *asked) == found


# The oracle


@given(nodes(), keys, st.booleans(), watermarks)
def test_snake_agrees_with_the_rules(
    node: OracleNode, destination: bytes, bootstrap: bool, watermark: tuple[bytes, int]
) -> None:
    asked = (destination, bootstrap, watermark, NOW)
    assert next_hop_snake(as_table(node), *asked) == oracle.snake(node, *asked)


@given(nodes(), keys, st.booleans())
def test_a_bootstrap_of_our_own_key_agrees_with_the_rules(
    node: OracleNode, destination: bytes, own: bool
) -> None:
    asked = (node.own_key if own else destination, True, FULL, NOW)
    assert next_hop_snake(as_table(node), *asked) == oracle.snake(node, *asked)


@given(nodes(), coords, st.integers(0, 5))
def test_tree_agrees_with_the_rules(node: OracleNode, destination: Coords, from_port: int) -> None:
    asked = (destination, from_port)
    assert next_hop_tree(as_table(node), *asked) == oracle.tree(node, *asked)


changes = st.one_of(
    st.tuples(st.just("peer"), ports, peers()),
    st.tuples(st.just("unpeer"), ports),
    st.tuples(st.just("flip"), ports),
    st.tuples(st.just("entry"), entries),
    st.tuples(st.just("unentry"), keys),
    st.tuples(st.just("self"), coords, roots),
    st.tuples(st.just("parent"), st.one_of(st.none(), ports)),
    st.tuples(st.just("wait"), st.floats(0, 4)),
)


class Both:
    """A table and the oracle that go through the same changes."""

    def __init__(self) -> None:
        self.node = OracleNode(key(6), (key(6), 1))
        self.table = ForwardingTable(key(6))
        self.now = NOW

    def apply(self, what: str, *values: Any) -> None:
        getattr(self, f"_{what}")(*values)

    def _peer(self, port: int, peer: OraclePeer) -> None:
        self.node.peers[port] = peer
        tell_peer(self.table, port, peer)

    def _unpeer(self, port: int) -> None:
        self.node.peers.pop(port, None)
        self.table.remove_peer(port)

    def _flip(self, port: int) -> None:
        if peer := self.node.peers.get(port):
            self._peer(port, OraclePeer(peer.public_key, peer.peer_type, not peer.live, peer.announcement))

    def _entry(self, entry: OracleEntry) -> None:
        seen = entry.last_seen + self.now - NOW
        entry = OracleEntry(entry.public_key, entry.sequence, entry.source, seen)
        self._forget(entry.public_key)
        self.node.entries.append(entry)
        tell_entry(self.table, entry)

    def _unentry(self, public_key: bytes) -> None:
        self._forget(public_key)
        self.table.remove_entry(public_key)

    def _forget(self, public_key: bytes) -> None:
        self.node.entries = [entry for entry in self.node.entries if entry.public_key != public_key]

    def _self(self, own_coords: Coords, root: tuple[bytes, int]) -> None:
        self.node.coords, self.node.root = own_coords, root
        self.table.set_self(own_coords, Root(*root))

    def _parent(self, port: int | None) -> None:
        self.node.parent = port
        self.table.set_parent(port)

    def _wait(self, seconds: float) -> None:
        self.now += seconds

    def check(self, destination: bytes, watermark: tuple[bytes, int]) -> None:
        for bootstrap in (False, True):
            asked = (destination, bootstrap, watermark, self.now)
            assert next_hop_snake(self.table, *asked) == oracle.snake(self.node, *asked)
        for place in ((), (1,), (2, 1), (1, 2, 3)):
            assert next_hop_tree(self.table, place, 1) == oracle.tree(self.node, place, 1)


@given(st.lists(st.tuples(changes, keys, watermarks), min_size=10, max_size=40))
def test_a_table_that_changes_agrees_with_the_rules(
    steps: list[tuple[tuple[Any, ...], bytes, tuple[bytes, int]]],
) -> None:
    both = Both()
    for change, destination, watermark in steps:
        version = both.table.version
        both.apply(*change)
        if change[0] not in {"wait", "flip"}:
            assert both.table.version > version
        both.check(destination, watermark)


@given(nodes(), keys, watermarks, st.floats(0, 12))
def test_an_answer_stands_until_its_time(
    node: OracleNode, destination: bytes, watermark: tuple[bytes, int], seconds: float
) -> None:
    table = as_table(node)
    *found, until = find_snake_hop(table, destination, False, watermark, NOW)
    later = NOW + seconds
    if later < until:
        assert next_hop_snake(table, destination, False, watermark, later) == tuple(found)
    else:
        assert until != NEVER


# Cases worth naming


def announcement(root: int, *signers: int, order: int = 1, sequence: int = 1) -> OracleAnnouncement:
    hops = tuple((1, key(signer)) for signer in (root, *signers))
    return OracleAnnouncement((key(root), sequence), hops, order)


def test_a_frame_for_our_key_is_local_and_keeps_its_watermark() -> None:
    table = ForwardingTable(key(5))
    assert next_hop_snake(table, key(5), False, (key(7), 3), NOW) == (0, key(7), 3)


def test_a_prefix_leads_to_the_owner_of_the_key() -> None:
    owner = bytes(range(1, 33))
    node = OracleNode(key(5), (b"\xf0" * 32, 1), entries=[OracleEntry(owner, 9, 2, NOW)])
    node.peers[2] = OraclePeer(key(4), 3, True, None)
    node.peers[1] = OraclePeer(b"\xf0" * 32, 3, True, OracleAnnouncement(node.root, ((1, node.root[0]),), 1))
    node.parent = 1
    prefix = owner[:15].ljust(32, b"\0")
    assert next_hop_snake(as_table(node), prefix, False, FULL, NOW) == (2, owner, 9)


def test_the_parent_is_preferred_among_those_that_name_a_key() -> None:
    node = OracleNode(key(5), (key(9), 1), parent=3)
    node.peers[2] = OraclePeer(key(2), 3, True, announcement(9, 7, 2))
    node.peers[3] = OraclePeer(key(3), 3, True, announcement(9, 7, 3))
    assert next_hop_snake(as_table(node), key(6), False, FULL, NOW) == (3, key(7), 0)
    node.parent = None
    assert next_hop_snake(as_table(node), key(7), False, FULL, NOW) == (2, key(7), 0)


def test_another_peering_to_the_next_node_is_taken_live_or_not_if_its_type_is_better() -> None:
    node = OracleNode(key(5), (key(9), 1))
    node.peers[1] = OraclePeer(key(7), 3, True, announcement(9, 7))
    node.peers[2] = OraclePeer(key(7), 1, False, announcement(9, 7, order=2))
    assert next_hop_snake(as_table(node), key(7), False, FULL, NOW) == (2, key(7), 0)


def test_look_ups_drop_what_cannot_be_used_and_so_pay_for_it_once() -> None:
    table = ForwardingTable(key(1 << 40))
    table.set_peer(1, key(2), 3, True, None)
    table.set_peer(2, key(3), 3, False, None)
    for number in range(1000, 4000):
        table.set_entry(key(number), 1, 1 + number % 2, NOW if number % 3 else NOW + 10)
    first = next_hop_snake(table, key(1000), False, FULL, NOW + 1)
    assert first == (1, key(1002), 1)
    assert table.entry_keys[0] == key(1002)
    assert next_hop_snake(table, key(1002), True, FULL, NOW + 20)[0] is None
    assert table.entry_keys == [key(1002)]
    for number in range(1000, 4000):
        assert number % 2 == 0 or key(number) in table.entries


def test_entries_come_back_with_their_source() -> None:
    table = ForwardingTable(key(100))
    table.set_peer(1, key(2), 3, False, None)
    table.set_entry(key(50), 7, 1, NOW + 10)
    assert next_hop_snake(table, key(40), False, FULL, NOW) == (0, key(100), 0)
    assert table.entry_keys == []
    table.set_peer(1, key(2), 3, True, None)
    assert next_hop_snake(table, key(40), False, FULL, NOW) == (1, key(50), 7)


def test_a_newer_bootstrap_takes_the_place_of_the_entry() -> None:
    table = ForwardingTable(key(100))
    table.set_peer(1, key(2), 3, True, None)
    table.set_peer(2, key(3), 3, True, None)
    table.set_entry(key(50), 7, 1, NOW + 10)
    table.set_entry(key(50), 8, 2, NOW + 11)
    assert table.entry_keys == [key(50)]
    assert find_snake_hop(table, key(40), False, FULL, NOW) == (2, key(50), 8, NOW + 11)


def test_keys_of_removed_entries_do_not_pile_up() -> None:
    table = ForwardingTable(key(1))
    for number in range(2000):
        table.set_entry(key(number), 1, 1, NOW)
        table.remove_entry(key(number))
    table.remove_entry(key(1))
    assert len(table.entry_keys) < 100
    assert not table.entries


def test_a_peer_that_leaves_takes_the_keys_along_that_only_it_named() -> None:
    table = as_table(OracleNode(key(5), (key(9), 1)))
    tell_peer(table, 1, OraclePeer(key(2), 3, True, announcement(9, 7, 2)))
    tell_peer(table, 2, OraclePeer(key(3), 3, True, announcement(9, 7, 3)))
    table.remove_peer(1)
    assert table.tree_keys == [key(3), key(7), key(9)]
    table.remove_peer(2)
    assert not table.tree_keys
    assert not table.offers


def test_a_new_announcement_changes_only_the_keys_that_differ() -> None:
    table = as_table(OracleNode(key(5), (key(9), 1)))
    tell_peer(table, 1, OraclePeer(key(2), 3, True, announcement(9, 7, 2)))
    tell_peer(table, 1, OraclePeer(key(2), 3, True, announcement(9, 8, 2)))
    assert table.tree_keys == [key(2), key(8), key(9)]
    assert table.offers == dict.fromkeys(table.tree_keys, 0b10)


def test_a_removed_entry_leaves_the_others_of_its_source() -> None:
    table = ForwardingTable(key(100))
    table.set_peer(1, key(2), 3, False, None)
    table.set_entry(key(50), 7, 1, NOW + 10)
    table.set_entry(key(51), 8, 1, NOW + 10)
    assert next_hop_snake(table, key(40), False, FULL, NOW)[0] == 0
    table.remove_entry(key(50))
    table.set_peer(1, key(2), 3, True, None)
    assert next_hop_snake(table, key(40), False, FULL, NOW) == (1, key(51), 8)


def test_of_equally_close_peers_the_lowest_port_tells_the_node_and_its_best_peering_is_used() -> None:
    node = OracleNode(key(5), (key(9), 1), coords=(4,))

    def peer(public_key: int, peer_type: int, order: int) -> OraclePeer:
        told = OracleAnnouncement(node.root, ((2, key(9)), (1, key(public_key))), order)
        return OraclePeer(key(public_key), peer_type, True, told)

    node.peers = {1: peer(7, 3, 3), 2: peer(8, 0, 1), 3: peer(7, 3, 2), 4: peer(7, 1, 9)}
    table = as_table(node)
    assert next_hop_tree(table, (2, 2), 0) == 4
    assert next_hop_tree(table, (2, 2), 4) == 3
    assert next_hop_tree(table, (4,), 0) == 0
    assert next_hop_tree(table, (4, 1), 0) is None


def test_deep_coords_cost_little_more_than_shallow_ones() -> None:
    """Strangers choose the coords of frames and may hold 237 peerings: depth must not be theirs to charge."""
    seconds = {}
    for depth in (4, 250):
        table = ForwardingTable(b"\1" * 32)
        root = Root(b"\2" * 32, 1)
        table.set_self((), root)
        for port in range(1, 254):
            place = PeerAnnouncement(root, (7,) * depth, (), port)
            table.set_peer(port, port.to_bytes(32), 3, True, place)
        table.rebuild()
        seconds[depth] = min(timeit.repeat(partial(next_hop_tree, table, (7,) * 254 + (9,), 0), number=5))
    assert seconds[250] < 4 * seconds[4]
