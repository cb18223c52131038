# SPDX-License-Identifier: Apache-2.0
"""Forwarding: every rule of section 6 for frames from peerings, onward and to this host."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.dataplane.forward import (
    MAX_DESTINATION_COORDS,
    SendResult,
    acceptable,
)
from pineconed.wire.coordinates import Coords, decode_coords, encode_coords
from pineconed.wire.errors import CodecError
from pineconed.wire.frame import TrafficFrame, decode_frame, encode_frame
from pineconed.wire.watermark import FULL, Watermark
from tests.unit.dataplane import oracle
from tests.unit.dataplane.oracle import OracleAnnouncement, OracleNode, OraclePeer
from tests.unit.dataplane.situations import NOW, coords, keys, nodes, ports, watermarks
from tests.unit.dataplane.stand import (
    ABOVE,
    BELOW,
    OWN,
    OWN_PREFIX,
    ROOT,
    SOURCE,
    Stand,
    child_of_the_root,
    traffic,
)


@pytest.fixture
def stand() -> Stand:
    return Stand.of(child_of_the_root())


# Onward


def test_by_the_tree_a_frame_travels_unchanged(stand: Stand) -> None:
    frame = traffic((3, 4, 1), b"\x33" * 32)
    stand.forward(frame)
    assert stand.sent() == {4: [frame]}
    assert stand.counters.rx_frames[1] == 1
    assert stand.counters.rx_bytes[1] == len(encode_frame(frame))
    assert stand.counters.tx_frames[4] == 1


def test_a_peering_is_shared_by_those_that_frames_came_from_and_this_host(stand: Stand) -> None:
    for _ in range(20):
        stand.forward(traffic((3, 4, 1), payload=bytes(1000)), from_port=1)
    for _ in range(20):
        stand.forward(traffic(watermark=Watermark(ROOT, 0), payload=bytes(1000)), from_port=2)
    for _ in range(20):
        stand.forwarder.send(BELOW, None, bytes(1000), 0, 0, NOW)
    sources = [frame.source_key for frame in stand.sent()[4][:30]]
    assert sources.count(OWN) in range(8, 13)


def test_along_the_snake_a_frame_takes_the_watermark_of_its_entry(stand: Stand) -> None:
    stand.forward(traffic(watermark=Watermark(ROOT, 0)))
    assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 0))]}
    stand.table.set_peer(4, b"\x41" * 32, 3, True, None)
    stand.forward(traffic(watermark=Watermark(ROOT, 0)))
    assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 77))]}


def test_where_the_tree_knows_no_way_the_coords_are_emptied(stand: Stand) -> None:
    stand.forward(traffic((9, 9)), from_port=2)
    assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 0))]}


def test_coords_that_are_ours_with_another_key_count_as_none(stand: Stand) -> None:
    stand.forward(traffic((3,)))
    assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 0))]}


@pytest.mark.parametrize("filler", [b"\x01", b"\xff"])
def test_overlong_coords_count_as_absent_and_are_not_decoded(stand: Stand, filler: bytes) -> None:
    for length in (MAX_DESTINATION_COORDS, MAX_DESTINATION_COORDS + 1):
        longest = encode_frame(traffic((3, 4, *(1,) * (length - 2))))
        absent = longest.replace(b"\x01" * (length - 2), filler * (length - 2))
        if length > MAX_DESTINATION_COORDS:
            stand.forward(absent)
            assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 0))]}
        elif filler == b"\x01":
            stand.forward(absent)
            assert len(stand.sent()[4][0].destination) == length
        else:
            with pytest.raises(CodecError):
                stand.forward(absent)


def test_source_coords_are_never_decoded(stand: Stand) -> None:
    frame = encode_frame(traffic((3, 4))).replace(encode_coords((1, 200)), b"\0\3\xff\xff\xff")
    stand.forward(frame)
    assert b"".join(stand.queues[4].take(1)) == frame


def test_a_watermark_may_be_longer_than_it_needs_to_be(stand: Stand) -> None:
    plain = encode_frame(traffic(watermark=Watermark(ROOT, 5)))
    padded = bytearray(plain.replace(ROOT + b"\x05", ROOT + b"\x80\x80\x05"))
    padded[8:10] = len(padded).to_bytes(2)
    stand.forward(bytes(padded))
    assert stand.sent() == {4: [traffic(watermark=Watermark(BELOW, 0))]}


@pytest.mark.parametrize("length", [65535, 65534, 65533])
def test_a_frame_that_would_grow_too_long_is_dropped(stand: Stand, length: int) -> None:
    stand.table.set_peer(4, b"\x41" * 32, 3, True, None)
    stand.table.set_entry(BELOW, 1 << 14, 4, NOW + 10)
    shortest = len(encode_frame(traffic(payload=b"")))
    stand.forward(traffic(payload=bytes(length - shortest)))
    if length > 65533:
        assert stand.drops() == {"too_long": 1}
        assert not stand.queues.ready()
    else:
        assert b"".join(stand.queues[4].take(1))[8:10] == b"\xff\xff"


# Dropped


def test_nothing_goes_back_where_it_came_from(stand: Stand) -> None:
    stand.forward(traffic(), from_port=4)
    stand.forward(traffic(destination_key=b"\x55" * 32), from_port=1)
    assert stand.drops(4) == {"sent_back": 1}
    assert stand.drops(1) == {"sent_back": 1}
    assert not stand.queues.ready()


def test_nothing_goes_on_to_a_worse_watermark(stand: Stand) -> None:
    stand.forward(traffic(destination_key=b"\x45" * 32, watermark=Watermark(b"\x49" * 32, 0)))
    assert stand.drops() == {"worse_watermark": 1}


def test_what_is_for_nobody_known_is_dropped(stand: Stand) -> None:
    stand.forward(traffic(destination_key=b"\x45" * 32))
    assert stand.drops() == {"no_route": 1}
    assert not stand.forwarder.local


def test_a_next_hop_whose_queue_is_gone_drops(stand: Stand) -> None:
    stand.queues.remove(4)
    stand.forward(traffic())
    assert stand.drops() == {"no_queue": 1}
    assert stand.forwarder.send(BELOW, None, b"x", 0, 0, NOW) is SendResult.NO_ROUTE
    assert stand.drops(0) == {"no_queue": 1}


def test_acceptable() -> None:
    assert acceptable(1, 2, (ABOVE, 0), (ABOVE, 4))
    assert not acceptable(2, 2, (ABOVE, 0), (ABOVE, 4))
    assert not acceptable(1, 2, (ABOVE, 3), (ABOVE, 4))


# To this host


def test_traffic_for_our_key_is_delivered_whatever_its_watermark(stand: Stand) -> None:
    frame = encode_frame(traffic(destination_key=OWN, watermark=Watermark(bytes(32), 0)))
    view = memoryview(frame)
    stand.forwarder.forward(view, 1, NOW)
    ((source_key, source_coords, payload, extra, from_port),) = stand.forwarder.take_local()
    assert (source_key, source_coords, extra, from_port) == (SOURCE, encode_coords((1, 200)), 5, 1)
    assert payload == b"data"
    assert payload.obj is frame
    assert not stand.forwarder.take_local()
    assert not stand.queues.ready()


@pytest.mark.parametrize("destination", [(), (3,), (9,)])
def test_traffic_for_our_padded_prefix_is_delivered(stand: Stand, destination: Coords) -> None:
    stand.forward(traffic(destination, OWN_PREFIX), from_port=2)
    ((_, _, payload, _, _),) = stand.forwarder.take_local()
    assert payload == b"data"


def test_traffic_for_our_padded_prefix_obeys_the_watermark(stand: Stand) -> None:
    stand.forward(traffic((), OWN_PREFIX, Watermark(OWN_PREFIX, 0)))
    assert not stand.forwarder.local
    assert stand.drops() == {"worse_watermark": 1}


def test_a_frame_for_us_whose_coords_do_not_parse_is_refused(stand: Stand) -> None:
    cut = encode_frame(traffic((1, 2), OWN)).replace(b"\0\2\1\2", b"\0\2\1\x82")
    with pytest.raises(CodecError):
        stand.forward(cut)


# Bodies that do not add up


@pytest.mark.parametrize(
    ("at", "value"),
    [(10, 0xFFFF), (10, 0), (10, 5), (12, 0xFFFF), (12, 3), (14, 0xFFFF), (14, 4)],
)
def test_lengths_that_do_not_add_up(stand: Stand, at: int, value: int) -> None:
    frame = bytearray(encode_frame(traffic()))
    frame[at : at + 2] = value.to_bytes(2)
    with pytest.raises(CodecError):
        stand.forward(bytes(frame))
    assert not stand.queues.ready()


def test_no_length_cuts_a_frame_that_parses(stand: Stand) -> None:
    frame = encode_frame(traffic(destination_key=OWN))
    for length in range(10, len(frame)):
        with pytest.raises(CodecError):
            stand.forward(frame[:length])


def test_a_payload_length_beyond_the_frame_is_no_negative_offset(stand: Stand) -> None:
    frame = bytearray(encode_frame(traffic((3, 4), payload=bytes(200))))
    fields_end = len(frame) - 200
    frame[10:12] = (len(frame) + len(frame) - fields_end).to_bytes(2)
    with pytest.raises(CodecError):
        stand.forward(bytes(frame))


def test_a_path_that_leads_back_is_forgotten_and_another_is_taken(stand: Stand) -> None:
    stale, other = b"\x32" * 32, b"\x33" * 32
    stand.table.set_entry(stale, 1, 1, NOW + 5)
    stand.table.set_entry(other, 1, 4, NOW + 5)
    stand.forward(traffic(destination_key=b"\x31" * 32), from_port=1)
    assert list(stand.sent()) == [4]
    assert stale not in stand.table.entries
    assert other in stand.table.entries


# Slow peerings


def with_bluetooth(peer: int, *, port: int = 9, live: bool = True) -> OracleNode:
    """The usual situation, but the peering at `peer` is by Bluetooth and another to its node is at `port`."""
    node = child_of_the_root()
    other = replace(node.peers[peer], live=live)
    return replace(node, peers={**node.peers, peer: replace(node.peers[peer], peer_type=4), port: other})


def grandchild_with_bluetooth() -> OracleNode:
    """The peering with the parent, which is not the root, is by Bluetooth, and another to it is at port 9."""
    child = child_of_the_root()
    up = OracleAnnouncement((ROOT, 1), ((3, ROOT), (5, ABOVE)), 1)
    parent = OraclePeer(ABOVE, 4, True, up)
    peers = {2: parent, 9: replace(parent, peer_type=3, announcement=replace(up, order=2))}
    return replace(child, coords=(3, 5), peers=peers, entries=[])


def everything(stand: Stand) -> None:
    """Frames by the tree and along the snake, from a peering and from this host."""
    stand.forward(traffic((1,), ABOVE), from_port=4)
    stand.forward(traffic((3, 4, 1), b"\x33" * 32), from_port=1)
    stand.forward(traffic(destination_key=b"\x61" * 32), from_port=4)
    stand.forward(traffic(destination_key=BELOW), from_port=1)
    for key, place in ((ABOVE, (1,)), (ROOT, None), (BELOW, None), (BELOW, (3, 4))):
        stand.forwarder.send(key, place, b"data", 0, 0, NOW)


@pytest.mark.parametrize("slow", [1, 2, 4])
def test_no_traffic_leaves_by_bluetooth_where_its_node_has_another_peering(slow: int) -> None:
    stand = Stand.of(with_bluetooth(slow))
    everything(stand)
    sent = stand.sent()
    assert slow not in sent
    assert 9 in sent


@pytest.mark.parametrize("slow", [1, 2, 4])
def test_nor_does_traffic_for_nodes_behind_it(slow: int) -> None:
    """The bootstraps of these came by Bluetooth, so that is where their paths begin."""
    behind = b"\x45" * 32
    stand = Stand.of(with_bluetooth(slow))
    stand.table.set_entry(behind, 1, slow, NOW + 5)
    stand.forward(traffic(destination_key=behind), from_port=1 if slow == 4 else 4)
    stand.forwarder.send(behind, None, b"data", 0, 0, NOW)
    assert {port: len(frames) for port, frames in stand.sent().items()} == {9: 2}


def test_nor_does_traffic_towards_the_root_where_the_parent_has_another_peering() -> None:
    stand = Stand.of(grandchild_with_bluetooth())
    for key in (ROOT, b"\xa0" * 32):
        stand.forwarder.send(key, None, b"data", 0, 0, NOW)
    assert {port: len(frames) for port, frames in stand.sent().items()} == {9: 2}


@pytest.mark.parametrize("slow", [1, 4])
def test_traffic_leaves_by_bluetooth_where_the_other_peering_is_silent(slow: int) -> None:
    stand = Stand.of(with_bluetooth(slow, live=False))
    everything(stand)
    assert slow in stand.sent()


def test_a_frame_does_not_go_back_to_its_node_by_the_better_peering() -> None:
    stand = Stand.of(with_bluetooth(4))
    stand.forward(traffic((3, 4, 1), BELOW), from_port=9)
    assert 9 not in stand.sent()


# Against the rules


def without_stale_paths(
    situation: OracleNode, frame: TrafficFrame, from_port: int
) -> tuple[int | None, bytes, int]:
    """The next hop, when every path is forgotten that leads back to the peer that gave it and lost it."""
    while True:
        hop = oracle.snake(situation, frame.destination_key, False, frame.watermark, NOW)
        kept = [e for e in situation.entries if (e.public_key, e.source) != (hop[1], from_port)]
        if hop[0] != from_port or len(kept) == len(situation.entries):
            return hop
        situation = replace(situation, entries=kept)


def expected(
    situation: OracleNode, frame: TrafficFrame, from_port: int
) -> tuple[str, int, TrafficFrame | None]:
    """Section 6 in plain words: what happens, the port it leaves by, and the frame as it leaves."""
    own = situation.own_key
    prefix = own[:15] + bytes(17)
    if frame.destination_key == own:
        return "local", 0, None
    if frame.destination:
        port = oracle.faster(situation, oracle.tree(situation, frame.destination, from_port))
        if port and port != from_port:
            return "queued", port, frame
        if port == 0 and frame.destination_key == prefix:
            return "local", 0, None
        frame = replace(frame, destination=(), watermark=FULL)
        hop = oracle.snake(situation, frame.destination_key, False, frame.watermark, NOW)
    else:
        hop = without_stale_paths(situation, frame, from_port)
    snake_port, watermark = oracle.faster(situation, hop[0]), Watermark(hop[1], hop[2])
    assert snake_port is not None
    if snake_port == from_port or oracle.worse(watermark, frame.watermark):
        return "dropped", 0, None
    if snake_port == 0:
        return ("local" if frame.destination_key == prefix else "dropped"), 0, None
    return "queued", snake_port, replace(frame, watermark=watermark)


@given(nodes(), coords, keys, watermarks, ports, st.booleans())
def test_forwarding_agrees_with_the_rules(
    situation: OracleNode,
    destination: Coords,
    destination_key: bytes,
    watermark: tuple[bytes, int],
    from_port: int,
    twice: bool,
) -> None:
    stand = Stand.of(situation)
    watermark = FULL if destination else watermark
    frame = replace(traffic(destination, destination_key), watermark=Watermark(*watermark))
    verdict, port, onward = expected(situation, frame, from_port)
    count = 2 if twice else 1
    for _ in range(count):
        stand.forward(frame, from_port)
    assert stand.sent() == ({port: [onward] * count} if onward else {})
    assert len(stand.forwarder.take_local()) == (count if verdict == "local" else 0)
    assert sum(stand.drops(from_port).values()) == (count if verdict == "dropped" else 0)


def parses(frame: bytes) -> bool:
    """Whether a traffic frame's body parses, read field by field; the source coords may be anything."""
    try:
        end = 14 + int.from_bytes(frame[12:14])
        if end > len(frame):
            return False
        if end > 14 and end - 14 <= MAX_DESTINATION_COORDS:
            decode_coords(frame, 12)
        source_end = end + 2 + int.from_bytes(frame[end : end + 2])
        blank = b"\0\1\1" if end > 14 else b"\0\0"
        body = frame[10:12] + blank + b"\0\0" + frame[source_end:]
        whole = frame[:8] + (10 + len(body)).to_bytes(2) + body
        return isinstance(decode_frame(whole), TrafficFrame)
    except CodecError:
        return False


@given(
    st.sampled_from([(), (3, 4), (200, 300)]),
    st.lists(st.tuples(st.integers(10, 250), st.integers(0, 255)), max_size=3),
    st.integers(0, 260),
)
def test_any_bytes_are_forwarded_or_raise_the_one_error(
    destination: Coords, changes: list[tuple[int, int]], length: int
) -> None:
    frame = bytearray(encode_frame(traffic(destination, payload=b"\1" * 40)))
    for at, value in changes:
        if at < len(frame):
            frame[at] = value
    del frame[max(10, length) :]
    frame[8:10] = len(frame).to_bytes(2)
    stand = Stand.of(child_of_the_root())
    if parses(bytes(frame)):
        stand.forward(bytes(frame))
    else:
        with pytest.raises(CodecError):
            stand.forward(bytes(frame))
