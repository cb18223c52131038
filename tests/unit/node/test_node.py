# SPDX-License-Identifier: Apache-2.0
"""The whole node: links come and go, frames flow, timers fire at exact times."""

import pytest

from pineconed.dataplane.forward import SendResult
from pineconed.node.snapshots import RouteSnapshot
from pineconed.overlay.events import EchoAnswered, SessionDown, SessionUp
from pineconed.peering.peering import KEEPALIVE, Peering
from pineconed.router.events import CloseLink, LinkAnnounced, LinkDown, LinkUp
from pineconed.router.peer import PeerType
from pineconed.router.ports import LAST_PORT, RESERVED_PORTS
from pineconed.signing import Ed25519Signer
from pineconed.wire.announcement import Announcement, Hop, append_hop, encode_announcement
from pineconed.wire.frame import (
    TrafficFrame,
    TreeAnnouncementFrame,
    UnknownFrame,
    decode_frame,
    encode_frame,
)
from pineconed.wire.root import Root
from pineconed.wire.watermark import FULL
from tests.unit.node.rig import CONFIGURED, INBOUND, SIGNERS, Rig, Stranger, ipv6_packet

LOW, MID, HIGH = SIGNERS[0], SIGNERS[2], SIGNERS[4]


def test_two_nodes_agree_and_report_it() -> None:
    rig = Rig(LOW, HIGH)
    low, high = rig.join(0, 1)
    for index, link, peer in ((0, low, HIGH), (1, high, LOW)):
        log = rig.log[index]
        assert LinkUp(link, 1, peer.public_key) in log
        assert LinkAnnounced(link, 1, peer.public_key) in log
        status = rig.nodes[index].status(rig.now)
        assert status.root.public_key == HIGH.public_key
        assert status.peers == 1
    assert rig.nodes[0].status(rig.now).parent == HIGH.public_key
    assert rig.nodes[0].status(rig.now).coords == (1,)
    assert rig.nodes[1].status(rig.now).parent is None


def test_packets_reach_the_far_end_of_a_line_both_ways() -> None:
    rig = Rig(MID, HIGH, LOW)
    rig.join(0, 1)
    rig.join(1, 2)
    rig.advance(3)
    a, c = rig.nodes[0], rig.nodes[2]
    there, back = ipv6_packet(a.address, c.address, b"ping"), ipv6_packet(c.address, a.address, b"pong")
    a.outbound([there], rig.now)
    rig.settle()
    c.outbound([back], rig.now)
    rig.settle()
    assert (rig.local[2], rig.local[0], rig.local[1]) == ([there], [back], [])


def test_sessions_are_pinged_shown_moved_and_closed() -> None:
    rig = Rig(LOW, MID)
    rig.join(0, 1)
    rig.advance(3)
    a, b = rig.nodes
    assert a.ping(b.public_key, b"one", rig.now) is None
    rig.settle()
    assert a.ping(b.address[1:], b"two", rig.now) is SendResult.QUEUED
    rig.settle()
    [up, echo] = a.session_events()
    assert up == SessionUp(b.public_key, "AES_256_GCM", initiator=True)
    assert echo == EchoAnswered(b.public_key, b"two", 0.0)
    [snapshot] = a.sessions(rig.now, None, 9).sessions
    assert (snapshot.public_key, snapshot.path) == (b.public_key, "snake")
    [snapshot] = b.sessions(rig.now, None, 9).sessions
    assert (snapshot.public_key, snapshot.path) == (a.public_key, "tree")
    a.outbound([ipv6_packet(a.address, b.address)], rig.now)
    rig.settle()
    assert [node.status(rig.now).counters["sessions"] for node in rig.nodes] == [1, 1]
    strong = Stranger(rig, HIGH, node=1)
    strong.shake_hands()
    strong.announce()
    rig.advance(1)
    assert b.status(rig.now).coords == (1,)
    [snapshot] = a.sessions(rig.now, None, 9).sessions
    assert snapshot.path == "tree"
    by_tree = RouteSnapshot(
        b.public_key,
        "tree",
        1,
        b.public_key,
        FULL,
        "The node said in its session where in the tree it is, at [1]: it is a direct peer.",
    )
    assert a.route(b.public_key, rig.now) == a.route(b.address[1:] + bytes(17), rig.now) == by_tree
    assert a.route(b.public_key[:31] + b"?", rig.now).method == "snake"
    b.close_sessions(rig.now)
    rig.settle()
    assert a.session(b.public_key, rig.now) is b.session(a.public_key, rig.now) is None
    assert a.session_events()[-1] == SessionDown(b.public_key, "closed by the peer")


def test_handshake_goes_first_and_only_once() -> None:
    rig = Rig(MID)
    peer = Stranger(rig, LOW)
    assert rig.nodes[0].take_ready() == [peer.link]
    assert peer.hear() == []
    assert len(peer.greeting) == 104
    assert rig.nodes[0].take_ready() == []
    peer.shake_hands()
    assert [decode_frame(frame).__class__ for frame in peer.hear()] == [TreeAnnouncementFrame]


def test_an_unknown_link_swallows_everything_and_sends_nothing() -> None:
    rig = Rig(MID)
    node, now = rig.nodes[0], rig.now
    node.events()
    assert node.receive(99, memoryview(b"abc"), now) == 3
    assert node.take(99, 1000, now) == []
    node.remove_link(99, "gone", now)
    assert node.events() == []


def test_keepalive_after_three_seconds_without_sending() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    peer.hear()
    rig.advance(2.875)
    assert peer.hear() == []
    rig.advance(0.125)
    assert peer.hear() == [KEEPALIVE]


def test_a_stalled_link_is_not_filled_with_keepalives() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    for _ in range(12):
        rig.advance(1)
        peer.say(KEEPALIVE)
    assert KEEPALIVE not in peer.hear()


def test_silence_ends_the_peering_after_five_seconds() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    rig.advance(4.875)
    assert peer.closed_because is None
    rig.advance(0.125)
    assert peer.closed_because == "silent for 5 s"
    assert [event for event in rig.log[0] if isinstance(event, CloseLink | LinkDown)] == [
        CloseLink(peer.link, "silent for 5 s", remote_fault=False),
        LinkDown(peer.link, 1, LOW.public_key, "silent for 5 s"),
    ]


def test_a_peer_that_never_shakes_hands_has_ten_seconds() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    rig.advance(9.875)
    assert peer.closed_because is None
    rig.advance(0.125)
    assert "no handshake within 10 s, 0 of 104 bytes came" in (peer.closed_because or "")
    assert peer.down[0].port is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"GET / HTTP/1.1\r\n" * 10,
            "handshake refused: the peer speaks HTTP",
        ),
        (b"\1\0\0\0\0\0\0\x3f" + bytes(96), "handshake refused: capabilities 0x3f, not 0x3b"),
        (b"\1\0\0\0\0\0\0\x3b" + bytes(96), "handshake refused: bad signature"),
    ],
)
def test_bad_handshakes_end_the_link_and_nothing_else(data: bytes, reason: str) -> None:
    rig = Rig(HIGH, LOW)
    rig.join(0, 1)
    peer = Stranger(rig, MID)
    assert peer.say(data) == len(data)
    assert reason in (peer.closed_because or "")
    assert rig.nodes[0].status(rig.now).peers == 1


def test_our_own_key_is_refused() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, HIGH)
    peer.shake_hands()
    assert peer.closed_because == (
        "the peer has this node's own key: it is this node, or another with a copy of the key file"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 400 Bad", "malformed data"),
        (b"pine\0\0\0\0\0\0", "a frame length of 0"),
        (b"pine\0\0\0\0\0\x09", "a frame length of 9"),
        (b"pine\0\x03\0\0\0\x0b\0", "malformed data"),
        (b"pine\0\x01\0\0\0\x0c\0\xff", "malformed data"),
        (encode_frame(TreeAnnouncementFrame(b"short")), "malformed data"),
    ],
)
def test_malformed_frames_end_the_peering(data: bytes, reason: str) -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    peer.say(data)
    assert reason in (peer.closed_because or "")
    assert [e.remote_fault for e in rig.log[0] if isinstance(e, CloseLink)] == [True]


def test_a_rule_breaker_is_closed_with_the_rule() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    peer.announce(port=0)
    assert peer.closed_because == "announcement with port 0"


def test_frames_before_a_bad_one_still_arrive() -> None:
    rig = Rig(HIGH, bare_ipv6=[LOW.public_key])
    node = rig.nodes[0]
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    packet = ipv6_packet(b"\xfd" + LOW.public_key[:15], node.address, b"x")
    good = encode_frame(TrafficFrame((), (), node.public_key, LOW.public_key, FULL, packet))
    bad = encode_frame(TrafficFrame((), (), node.public_key, LOW.public_key, FULL, packet))
    peer.say(good + bad[:10] + b"\xff" + bad[11:])
    assert rig.local[0] == [packet]
    assert peer.closed_because is not None


def test_an_announcement_of_too_many_hops_is_noted_and_forgiven() -> None:
    rig = Rig(LOW)
    peer = Stranger(rig, SIGNERS[1])
    peer.shake_hands()
    invented = [Ed25519Signer(number.to_bytes(32)) for number in range(1000, 1255)]
    update = Announcement(Root(invented[0].public_key, 1), ())
    for signer in (*invented, peer.signer):
        update = append_hop(update, 1, signer)
    peer.send(TreeAnnouncementFrame(encode_announcement(update)))
    assert peer.closed_because is None
    assert peer.complaints == ["announcement too long"]


def test_unknown_types_and_versions_are_noted_and_forgiven() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    peer.send(UnknownFrame(9, b"body"))
    peer.send(UnknownFrame(9, b"body", version=7))
    assert peer.closed_because is None
    assert peer.complaints == [
        "frame of unknown type",
        "frame of another version",
        "frame of unknown type",
    ]
    (snapshot,) = rig.nodes[0].peerings(rig.now)
    assert snapshot.drops == {"frame_of_unknown_type": 2, "frame_of_another_version": 1}


def test_a_turn_handles_no_more_than_its_share_of_frames() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.shake_hands()
    assert peer.say(KEEPALIVE * 300) == 2560
    assert peer.say(KEEPALIVE * 44) == 440
    assert rig.nodes[0].peerings(rig.now)[0].rx_frames == 300


def test_handshake_and_frames_may_come_in_one_read() -> None:
    rig = Rig(HIGH)
    peer = Stranger(rig, LOW)
    peer.say(Peering.greeting(LOW) + KEEPALIVE)
    assert rig.nodes[0].peerings(rig.now)[0].rx_frames == 1


def test_strangers_leave_ports_for_configured_peers() -> None:
    rig = Rig(HIGH)
    strangers = [Stranger(rig, Ed25519Signer(n.to_bytes(32))) for n in range(1, 301)]
    for stranger in strangers:
        stranger.shake_hands()
    refused = [s for s in strangers if s.closed_because == "no free port: too many peerings"]
    assert len(refused) == 300 - (LAST_PORT - RESERVED_PORTS)
    friend = Stranger(rig, LOW, CONFIGURED)
    friend.shake_hands()
    assert friend.closed_because is None
    assert rig.nodes[0].status(rig.now).drops["no_free_port"] == len(refused)


def test_a_lost_link_takes_its_peering_with_it() -> None:
    rig = Rig(LOW, HIGH)
    link, _ = rig.join(0, 1)
    node = rig.nodes[0]
    node.remove_link(link, "connection reset", rig.now)
    assert node.events()[-1] == LinkDown(link, 1, HIGH.public_key, "connection reset")
    assert node.status(rig.now).peers == 0
    assert node.status(rig.now).root.public_key == LOW.public_key
    assert node.peerings(rig.now) == []
    assert node.take_ready() == []


def test_a_silent_peering_gives_way_to_another_one_to_the_same_node() -> None:
    rig = Rig(LOW)
    first, second = Stranger(rig, HIGH), Stranger(rig, HIGH)
    for peer in (first, second):
        peer.shake_hands()
        peer.announce()
    assert rig.nodes[0].route(HIGH.public_key, rig.now).next_port == 1
    for _ in range(3):
        rig.advance(1)
        second.say(KEEPALIVE)
    rig.advance(0.5)
    assert rig.nodes[0].route(HIGH.public_key, rig.now).next_port == 2
    first.say(KEEPALIVE)
    rig.advance(1)
    assert rig.nodes[0].route(HIGH.public_key, rig.now).next_port == 1


def test_a_silent_peering_does_not_give_way_to_one_that_announced_nothing() -> None:
    rig = Rig(LOW)
    first, replayed = Stranger(rig, HIGH), Stranger(rig, HIGH)
    for peer in (first, replayed):
        peer.shake_hands()
    first.announce()
    for _ in range(3):
        rig.advance(1)
        replayed.say(KEEPALIVE)
        assert rig.nodes[0].route(HIGH.public_key, rig.now).next_port == 1


def test_a_delayed_bad_announcement_ends_its_peering_by_timer() -> None:
    rig = Rig(LOW)
    peer = Stranger(rig, HIGH)
    peer.shake_hands()
    for sequence in range(1, 61):
        peer.announce(sequence)
    assert rig.nodes[0].status(rig.now).root.sequence == 45
    rig.advance(0.1)
    assert rig.nodes[0].status(rig.now).root.sequence == 60
    for sequence in range(61, 80):
        peer.announce(sequence)
    forged = append_hop(Announcement(Root(HIGH.public_key, 80), ()), 1, LOW)
    stolen = Hop(1, HIGH.public_key, forged.hops[0].signature)
    peer.send(TreeAnnouncementFrame(encode_announcement(Announcement(forged.root, (stolen,)))))
    assert peer.closed_because is None
    rig.advance(0.1)
    assert "bad signature" in (peer.closed_because or "")


def test_peerings_tell_what_crossed_them() -> None:
    rig = Rig(LOW, HIGH)
    rig.join(0, 1)
    low, high = rig.nodes
    before = low.peerings(rig.now)[0]
    packet = ipv6_packet(low.address, high.address, bytes(1000))
    low.outbound([packet], rig.now)
    rig.settle()
    after = low.peerings(rig.now)[0]
    assert after.tx_traffic_bytes - before.tx_traffic_bytes == after.tx_bytes - before.tx_bytes > 1000
    assert after.tx_protocol_bytes == before.tx_protocol_bytes > 0
    assert (after.state, after.announced, after.is_parent, after.coords) == ("up", True, True, ())
    assert (after.peer_type, after.uri, after.configured) == (PeerType.REMOTE, CONFIGURED.uri, True)
    far = high.peerings(rig.now)[0]
    assert far.rx_traffic_bytes == after.tx_traffic_bytes
    assert (far.direction, far.is_parent, far.coords) == (INBOUND.direction, False, (1,))


def test_a_link_in_handshake_is_shown_without_a_port() -> None:
    rig = Rig(LOW)
    Stranger(rig, HIGH)
    (snapshot,) = rig.nodes[0].peerings(rig.now)
    assert (snapshot.state, snapshot.port, snapshot.public_key) == ("handshake", None, None)
    assert snapshot.queued_bytes == 0


def test_routes_are_explained() -> None:
    rig = Rig(MID, HIGH, LOW)
    node = rig.nodes[0]
    unknown = bytes([1]) + bytes(31)
    assert node.route(MID.public_key, rig.now).method == "local"
    assert node.route(MID.public_key[:15] + bytes(17), rig.now).method == "local"
    assert "No peer is connected" in node.route(unknown, rig.now).explanation
    rig.join(0, 1)
    rig.join(0, 2)
    direct = node.route(HIGH.public_key, rig.now)
    assert (direct.method, direct.next_port, direct.next_key) == ("snake", 1, HIGH.public_key)
    assert direct.explanation == "The destination itself is known: a direct peer."
    prefix = node.route(LOW.public_key[:15] + bytes(17), rig.now)
    assert (prefix.next_port, prefix.watermark.public_key) == (2, LOW.public_key)
    assert prefix.explanation == "The one node with this address is known: a direct peer."
    above = node.route(bytes(32), rig.now)
    assert "the closest key above it" in above.explanation
    nobody = node.route(b"\xff" * 32, rig.now)
    assert nobody.method == "none"
    assert "No node that is known is closer" in nobody.explanation


def test_routes_name_what_kind_of_key_is_aimed_at() -> None:
    rig = Rig(SIGNERS[1], SIGNERS[3], HIGH, LOW)
    rig.join(0, 1)
    rig.join(1, 2)
    rig.advance(3)
    assert (
        "The destination itself is known: the root of the tree"
        in rig.nodes[0].route(HIGH.public_key, rig.now).explanation
    )


def test_a_route_may_aim_at_somebody_on_the_way_to_the_root() -> None:
    rig = Rig(SIGNERS[1], SIGNERS[2], SIGNERS[3], HIGH)
    for number in (2, 1, 0):
        rig.join(number, number + 1)
    explanation = rig.nodes[0].route(SIGNERS[3].public_key, rig.now).explanation
    assert explanation == (
        "The destination itself is known: one on a peer's way to the root, reached through this peer."
    )


def test_tree_and_snake_are_shown() -> None:
    rig = Rig(LOW, HIGH)
    rig.join(0, 1)
    rig.advance(3)
    assert rig.nodes[0].tree(rig.now).parent_key == HIGH.public_key
    assert [e.public_key for e in rig.nodes[1].snake(rig.now, None, 10).entries] == [LOW.public_key]
    assert rig.nodes[0].status(rig.now).counters["bootstraps_sent"] == 1


def test_busy_links_share_a_round_and_a_quiet_one_gets_through_it() -> None:
    rig = Rig(SIGNERS[0])
    crowd = [Stranger(rig, Ed25519Signer(n.to_bytes(32))) for n in range(1000, 1100)]
    for stranger in crowd:
        stranger.shake_hands()
    flood = KEEPALIVE * 300
    assert crowd[0].say(flood) == 256 * len(KEEPALIVE)
    for stranger in crowd:
        stranger.say(flood)
    assert {stranger.say(flood) for stranger in crowd} == {1024 // 100 * len(KEEPALIVE)}
    for stranger in crowd[2:]:
        rig.nodes[0].remove_link(stranger.link, "gone", rig.now)
    assert crowd[1].say(flood) == 256 * len(KEEPALIVE)
    assert crowd[1].say(KEEPALIVE) == len(KEEPALIVE)
