# SPDX-License-Identifier: Apache-2.0
"""Frames of this host, and the decisions that are kept from one frame to the next."""

from dataclasses import replace

import pytest

from pineconed.dataplane.forward import (
    MAX_DESTINATION_COORDS,
    MAX_TEMPLATES,
    ROUTES_PER_PORT,
    LocalFrame,
    SendResult,
)
from pineconed.wire.coordinates import Coords, decode_coords
from pineconed.wire.frame import TrafficFrame
from pineconed.wire.watermark import FULL, Watermark
from tests.unit.dataplane.situations import NOW, key, tell_peer
from tests.unit.dataplane.stand import (
    BELOW,
    OWN,
    OWN_PREFIX,
    Stand,
    child_of_the_root,
    decoded,
    traffic,
)


@pytest.fixture
def stand() -> Stand:
    return Stand.of(child_of_the_root())


# Decisions that are kept


def test_a_kept_decision_ends_with_its_entry(stand: Stand) -> None:
    stand.table.set_peer(4, b"\x41" * 32, 3, True, None)
    for now in (NOW, NOW + 9.9):
        stand.forward(traffic(), now=now)
        stand.forwarder.send(BELOW, None, b"x", 0, 0, now)
    assert len(stand.sent()[4]) == 4
    stand.forward(traffic(), now=NOW + 10)
    assert stand.drops() == {"no_route": 1}
    assert stand.forwarder.send(BELOW, None, b"x", 0, 0, NOW + 10) is SendResult.NO_ROUTE


def test_a_kept_decision_ends_with_any_change_of_the_table(stand: Stand) -> None:
    frame = traffic((3, 4, 1), b"\x33" * 32)
    stand.forward(frame)
    assert list(stand.sent()) == [4]
    told = child_of_the_root().peers[4]
    tell_peer(stand.table, 4, replace(told, live=False))
    stand.forward(frame)
    assert list(stand.sent()) != [4]


def test_the_extra_byte_and_the_payload_are_each_frame_s_own(stand: Stand) -> None:
    frames = [replace(traffic(), extra=extra, payload=bytes([extra]) * extra) for extra in range(1, 5)]
    for frame in frames:
        stand.forward(frame)
    onward = stand.sent()[4]
    assert sorted(onward, key=lambda frame: frame.extra) == [
        replace(frame, watermark=Watermark(BELOW, 0)) for frame in frames
    ]


def test_what_is_kept_is_bounded(stand: Stand) -> None:
    for number in range(3 * max(ROUTES_PER_PORT, MAX_TEMPLATES)):
        stand.forward(traffic(destination_key=key(number)))
        stand.forwarder.send(key(number), None, b"", 0, 0, NOW)
        stand.forward(traffic((3, 4, *(1,) * 150), destination_key=key(number)), from_port=2)
    assert 0 < len(stand.forwarder._routes[1]) <= ROUTES_PER_PORT
    assert not stand.forwarder._routes[2]
    assert 0 < len(stand.forwarder._templates) <= MAX_TEMPLATES


def test_flows_of_the_same_nodes_are_told_apart_by_the_extra_byte(stand: Stand) -> None:
    for _ in range(3):
        stand.forward(replace(traffic(payload=bytes(60_000)), extra=1))
    stand.queues[4].take(1)
    stand.forward(replace(traffic(payload=b"ping"), extra=2))
    assert decoded(stand.queues[4].take(1)).payload == b"ping"


# From this host


def test_by_coords_a_frame_of_ours_takes_the_tree(stand: Stand) -> None:
    assert stand.forwarder.send(BELOW, (3, 4), (b"pay", b"load"), 3, 6, NOW) is SendResult.QUEUED
    own = TrafficFrame((3, 4), (3,), BELOW, OWN, FULL, b"payload", extra=6, hop_limit=10)
    assert stand.sent() == {4: [own]}


@pytest.mark.parametrize("destination", [None, (), (3,), (1,) * (MAX_DESTINATION_COORDS + 1)])
def test_without_useful_coords_a_frame_of_ours_takes_the_snake(
    stand: Stand, destination: Coords | None
) -> None:
    assert stand.forwarder.send(BELOW, destination, b"payload", 3, 6, NOW) is SendResult.QUEUED
    own = TrafficFrame((), (3,), BELOW, OWN, Watermark(BELOW, 0), b"payload", extra=6, hop_limit=10)
    assert stand.sent() == {4: [own]}


@pytest.mark.parametrize("destination", [OWN, OWN_PREFIX, b"\x45" * 32])
def test_without_a_way_a_frame_of_ours_goes_nowhere(stand: Stand, destination: bytes) -> None:
    assert stand.forwarder.send(destination, (3,), b"x", 0, 0, NOW) is SendResult.NO_ROUTE
    assert stand.forwarder.send(OWN, (3, 4), b"x", 0, 0, NOW) is SendResult.NO_ROUTE
    assert stand.drops(0) == {"no_route": 2}
    assert not stand.queues.ready()


def test_a_frame_of_ours_leaves_out_coords_that_do_not_fit(stand: Stand) -> None:
    far = (3, 4, *range(1, 100))
    payload = bytes(stand.forwarder.payload_limit())
    assert stand.forwarder.send(BELOW, far, payload, 0, 0, NOW) is SendResult.QUEUED
    assert stand.sent()[4][0].destination == ()
    assert stand.forwarder.send(BELOW, far, bytes(65_300), 0, 0, NOW) is SendResult.QUEUED
    assert stand.sent()[4][0].destination == far


def test_a_frame_of_ours_that_cannot_fit_is_refused(stand: Stand) -> None:
    payload = bytes(stand.forwarder.payload_limit() + 10)
    assert stand.forwarder.send(BELOW, None, payload, 0, 0, NOW) is SendResult.TOO_BIG
    assert stand.drops(0) == {"too_long": 1}


def test_the_payload_limit_holds_for_the_longest_watermark(stand: Stand) -> None:
    stand.table.set_peer(4, b"\x41" * 32, 3, True, None)
    stand.table.set_entry(BELOW, 2**64 - 1, 4, NOW + 10)
    payload = bytes(stand.forwarder.payload_limit())
    assert stand.forwarder.send(BELOW, None, payload, 0, 0, NOW) is SendResult.QUEUED
    assert len(b"".join(stand.queues[4].take(1))) == 65535


def test_the_payload_is_not_copied(stand: Stand) -> None:
    payload = bytes(5000)
    stand.forwarder.send(BELOW, None, payload, 0, 0, NOW)
    assert stand.queues[4].take(1)[1] is payload


def test_our_frames_carry_our_latest_coords(stand: Stand) -> None:
    stand.forwarder.send(BELOW, None, b"x", 0, 0, NOW)
    stand.table.set_self((8, 200), stand.table.root)
    stand.forwarder.send(BELOW, None, b"x", 0, 0, NOW)
    assert [frame.source for frame in stand.sent()[4]] == [(3,), (8, 200)]


def test_local_frames_are_what_the_endpoint_reads(stand: Stand) -> None:
    stand.forward(traffic((3,), OWN))
    frames: list[LocalFrame] = stand.forwarder.take_local()
    assert decode_coords(frames[0][1])[0] == (1, 200)
