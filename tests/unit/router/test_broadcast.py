# SPDX-License-Identifier: Apache-2.0
"""Wakeup broadcasts: when we send, what we pass on, and to whom."""

from dataclasses import replace

import pytest

from pineconed.router.broadcast import BroadcastVerdict
from pineconed.router.events import NodeSeen
from pineconed.router.peer import PeerType
from pineconed.wire.frame import WakeupBroadcastFrame
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import MAX_PAYLOAD_LENGTH
from tests.unit.router.desk import OWN, SIGNERS, STRONGEST, WEAKEST, Desk, announcement, broadcast

SOURCE = SIGNERS[2]
PADDED = broadcast(SOURCE, Root(STRONGEST.public_key, 1))


@pytest.fixture
def desk() -> Desk:
    """A child of the strongest node by port 1, with a child of ours at port 2 and a silent peer at port 3."""
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.add(2, WEAKEST)
    desk.hear(2, announcement(STRONGEST, OWN, WEAKEST))
    desk.add(3, SIGNERS[3])
    desk.silence()
    return desk


def take(desk: Desk, port: int, frame: WakeupBroadcastFrame) -> BroadcastVerdict:
    return desk.router.handle_broadcast(port, frame, desk.now)


def test_every_peer_hears_of_us_every_minute(desk: Desk) -> None:
    desk.advance(59.9)
    assert [desk.broadcasts(port) for port in (1, 2, 3)] == [[], [], []]
    desk.advance(0.1)
    sent = [desk.broadcasts(port) for port in (1, 2, 3)]
    assert sent[0] == sent[1] == sent[2]
    assert (sent[0][0].source_key, sent[0][0].hop_limit) == (OWN.public_key, 5)
    desk.advance(60)
    assert len(desk.broadcasts(3)) == 1


def test_a_node_that_announces_itself_first_hears_of_us_once() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    desk.hear(1, announcement(STRONGEST, WEAKEST))
    frames = desk.sent(1)
    assert [type(frame).__name__ for frame in frames] == ["TreeAnnouncementFrame", "WakeupBroadcastFrame"]
    desk.hear(1, announcement(STRONGEST, WEAKEST, sequence=2))
    assert desk.broadcasts(1) == []
    desk.add(2, WEAKEST)
    desk.hear(2, announcement(STRONGEST, WEAKEST, sequence=2))
    assert desk.broadcasts(2) == []


def test_broadcast_is_reported_and_flooded_to_all_but_its_sender(desk: Desk) -> None:
    frame = broadcast(SOURCE, desk.root)
    assert take(desk, 2, frame) is BroadcastVerdict.SEEN
    assert desk.events[-1] == NodeSeen(SOURCE.public_key)
    assert [desk.broadcasts(port) for port in (1, 2, 3)] == [
        [replace(frame, hop_limit=4)],
        [],
        [replace(frame, hop_limit=4)],
    ]


def test_below_hop_limit_four_only_neighbours_in_the_tree_get_it(desk: Desk) -> None:
    desk.follow(4, STRONGEST, SIGNERS[7])
    assert take(desk, 2, broadcast(SOURCE, desk.root, hop_limit=4)) is BroadcastVerdict.SEEN
    assert [len(desk.broadcasts(port)) for port in (1, 2, 3, 4)] == [1, 0, 0, 0]


@pytest.mark.parametrize(("received", "sent"), [(0, []), (1, []), (2, [1]), (200, [4])])
def test_hop_limit_is_counted_down_and_never_believed_above_five(
    desk: Desk, received: int, sent: list[int]
) -> None:
    take(desk, 2, broadcast(SOURCE, desk.root, hop_limit=received))
    assert [frame.hop_limit for frame in desk.broadcasts(1)] == sent


def test_one_copy_goes_to_each_node_over_its_best_peering(desk: Desk) -> None:
    desk.add(5, SIGNERS[3], PeerType.MULTICAST)
    desk.silence()
    take(desk, 2, broadcast(SOURCE, desk.root))
    assert (len(desk.broadcasts(3)), len(desk.broadcasts(5))) == (0, 1)


def test_of_equal_peerings_the_first_announced_one_is_used(desk: Desk) -> None:
    desk.add(5, SIGNERS[3])
    desk.hear(5, announcement(STRONGEST, SIGNERS[3]))
    desk.silence()
    take(desk, 2, broadcast(SOURCE, desk.root))
    assert (len(desk.broadcasts(3)), len(desk.broadcasts(5))) == (0, 1)


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (WakeupBroadcastFrame(SOURCE.public_key, bytes(97), hop_limit=5), BroadcastVerdict.MALFORMED),
        (
            replace(PADDED, payload=PADDED.payload + bytes(MAX_PAYLOAD_LENGTH)),
            BroadcastVerdict.MALFORMED,
        ),
        (broadcast(OWN, Root(STRONGEST.public_key, 1)), BroadcastVerdict.OWN),
        (broadcast(SOURCE, Root(SIGNERS[9].public_key, 1)), BroadcastVerdict.OTHER_ROOT),
        (
            replace(broadcast(SOURCE, Root(STRONGEST.public_key, 1)), source_key=SIGNERS[4].public_key),
            BroadcastVerdict.BAD_SIGNATURE,
        ),
    ],
)
def test_bad_broadcasts_are_dropped_and_counted(
    desk: Desk, frame: WakeupBroadcastFrame, verdict: BroadcastVerdict
) -> None:
    assert take(desk, 2, frame) is verdict
    assert desk.router.dropped[verdict] == 1
    assert desk.broadcasts(1) == []
    assert desk.router.broadcasts.seen == {}


def test_another_sequence_of_our_root_is_fine(desk: Desk) -> None:
    assert take(desk, 2, broadcast(SOURCE, Root(STRONGEST.public_key, 77))) is BroadcastVerdict.SEEN


def test_one_broadcast_in_thirty_seconds_and_only_newer_ones(desk: Desk) -> None:
    assert take(desk, 2, broadcast(SOURCE, desk.root, sequence=5)) is BroadcastVerdict.SEEN
    desk.seconds += 29.9
    assert take(desk, 2, broadcast(SOURCE, desk.root, sequence=6)) is BroadcastVerdict.REPEATED
    desk.seconds += 0.1
    assert take(desk, 3, broadcast(SOURCE, desk.root, sequence=5)) is BroadcastVerdict.REPEATED
    assert take(desk, 3, broadcast(SOURCE, desk.root, sequence=6)) is BroadcastVerdict.SEEN


def test_what_was_seen_is_forgotten_after_three_minutes_in_the_minute_round(desk: Desk) -> None:
    desk.advance(1)
    take(desk, 2, broadcast(SOURCE, desk.root))
    desk.advance(179)
    assert SOURCE.public_key in desk.router.broadcasts.seen
    desk.advance(60)
    assert desk.router.broadcasts.seen == {}


def test_a_full_share_refuses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.router.broadcasts.shares, "limit", 4)
    assert take(desk, 2, broadcast(SOURCE, desk.root)) is BroadcastVerdict.SEEN
    assert take(desk, 2, broadcast(SIGNERS[4], desk.root)) is BroadcastVerdict.NO_ROOM
    assert take(desk, 1, broadcast(SIGNERS[4], desk.root)) is BroadcastVerdict.SEEN


def test_signature_work_is_bounded(desk: Desk) -> None:
    forged = replace(broadcast(SOURCE, desk.root), source_key=SIGNERS[4].public_key)
    verdicts = [take(desk, 2, forged) for _ in range(600)]
    assert verdicts.count(BroadcastVerdict.OVER_BUDGET) >= 100


def test_the_last_peering_takes_the_memory_with_it(desk: Desk) -> None:
    take(desk, 2, broadcast(SOURCE, desk.root))
    for port in (1, 2, 3):
        desk.remove(port)
    assert desk.router.broadcasts.seen == {}


def test_a_new_peering_does_not_inherit_the_share_of_the_last_at_its_port(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.router.broadcasts.shares, "limit", 4)
    assert take(desk, 3, broadcast(SOURCE, desk.root)) is BroadcastVerdict.SEEN
    assert take(desk, 3, broadcast(SIGNERS[4], desk.root)) is BroadcastVerdict.NO_ROOM
    desk.remove(3)
    desk.add(3, SIGNERS[7])
    assert take(desk, 3, broadcast(SIGNERS[4], desk.root)) is BroadcastVerdict.SEEN
    assert take(desk, 2, broadcast(SOURCE, desk.root)) is BroadcastVerdict.REPEATED


def test_no_more_than_a_share_is_remembered_of_peerings_that_are_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.router.broadcasts.shares, "limit", 6)
    for source in (SIGNERS[1], SOURCE, SIGNERS[4]):
        take(desk, 3, broadcast(source, desk.root))
        desk.remove(3)
        desk.add(3, SIGNERS[3])
    assert list(desk.router.broadcasts.seen) == [SIGNERS[1].public_key, SOURCE.public_key]
