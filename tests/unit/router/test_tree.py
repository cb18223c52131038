# SPDX-License-Identifier: Apache-2.0
"""The spanning tree: whom we follow, when we say so, at exact times."""

import pytest

from pineconed.dataplane.next_hop import LOCAL, next_hop_snake
from pineconed.router.errors import PeerFaultError
from pineconed.router.events import ParentChanged, RootChanged
from pineconed.router.parent import ANNOUNCEMENT_TIMEOUT
from pineconed.router.tree import ANNOUNCEMENT_INTERVAL
from pineconed.signing import Ed25519Signer
from pineconed.wire.announcement import Announcement
from pineconed.wire.frame import HEADER_LENGTH, UnknownFrame, encode_frame
from pineconed.wire.root import Root
from tests.unit.router.desk import OWN, SIGNERS, START_MS, STRONGEST, WEAKEST, Desk, announcement

FULL = (b"\xff" * 32, 0)
FIRST_SEQUENCE = START_MS // 1000 + 1


def roots(announcements: list[Announcement]) -> list[Root]:
    return [told.root for told in announcements]


def test_a_node_alone_is_its_own_root_with_a_sequence_above_any_earlier_start() -> None:
    desk = Desk()
    assert desk.root == Root(OWN.public_key, FIRST_SEQUENCE)
    assert desk.router.tree.coords == ()


def test_a_new_peer_is_greeted_with_its_own_announcement() -> None:
    desk = Desk()
    desk.add(7, WEAKEST)
    (told,) = desk.announced(7)
    assert told.root == desk.root
    assert [(hop.port, hop.public_key) for hop in told.hops] == [(7, OWN.public_key)]


def test_stronger_root_makes_the_peer_our_parent_and_all_are_told() -> None:
    desk = Desk()
    desk.add(1, SIGNERS[7])
    desk.add(2, WEAKEST)
    desk.hear(1, announcement(STRONGEST, SIGNERS[7], sequence=5, ports=(3, 9)))
    assert desk.root == Root(STRONGEST.public_key, 5)
    assert desk.router.tree.coords == (3, 9)
    for port in (1, 2):
        (told,) = desk.announced(port)
        assert told.coords == (3, 9, port)
        assert told.signers == (STRONGEST.public_key, SIGNERS[7].public_key, OWN.public_key)
    assert desk.events[-2:] == [
        ParentChanged(SIGNERS[7].public_key, 1),
        RootChanged(Root(STRONGEST.public_key, 5), (3, 9)),
    ]
    assert (desk.table.parent, desk.table.coords, desk.table.root) == (1, (3, 9), desk.root)


def test_newer_sequence_from_the_parent_is_passed_on() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.hear(1, announcement(STRONGEST, sequence=2))
    assert roots(desk.announced(1)) == [Root(STRONGEST.public_key, 2)]
    assert desk.table.root.sequence == 2


def test_parent_that_repeats_itself_is_left_for_a_second() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    own_sequence = desk.router.tree.sequence
    desk.hear(1, announcement(STRONGEST))
    assert desk.root == Root(OWN.public_key, own_sequence + 1)
    assert roots(desk.announced(1)) == [desk.root]
    desk.advance(0.999)
    assert desk.router.tree.parent is None
    desk.advance(0.001)
    assert desk.root == Root(STRONGEST.public_key, 1)
    assert desk.table.parent == 1


def test_while_waiting_announcements_are_stored_and_not_acted_on() -> None:
    desk = Desk()
    desk.follow(1, SIGNERS[8])
    desk.add(2, STRONGEST)
    desk.hear(1, announcement(SIGNERS[8]))
    desk.hear(2, announcement(STRONGEST))
    assert desk.root.public_key == OWN.public_key
    desk.advance(1.0)
    assert desk.root.public_key == STRONGEST.public_key


@pytest.mark.parametrize("signers", [(STRONGEST, OWN, SIGNERS[8]), (SIGNERS[7], SIGNERS[8])])
def test_parent_with_a_loop_or_a_weaker_root_is_left(signers: tuple[Ed25519Signer, ...]) -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[8])
    desk.hear(1, announcement(*signers, sequence=2))
    assert desk.router.tree.parent is None
    assert desk.router.tree.waiting_until == desk.seconds + 1.0


def test_weaker_root_is_not_corrected_twice() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.add(2, WEAKEST)
    assert roots(desk.announced(2)) == [desk.root]
    for sequence in (1, 2):
        desk.hear(2, announcement(WEAKEST, sequence=sequence))
        assert desk.announced(2) == []
    assert desk.announced(1) == []


def test_becoming_root_is_reported_once() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.events.clear()
    desk.hear(1, announcement(STRONGEST))
    assert desk.events == [ParentChanged(None, None), RootChanged(desk.root, ())]


def test_child_that_signs_our_announcement_back_changes_nothing() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.add(2, WEAKEST)
    desk.hear(2, announcement(STRONGEST, OWN, WEAKEST))
    assert desk.announced(1) == []
    assert desk.announced(2) == []
    assert desk.table.parent == 1


def test_of_two_offers_of_one_root_the_newer_sequence_wins_then_the_first_heard() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[7], sequence=4)
    desk.follow(2, STRONGEST, SIGNERS[8], sequence=4)
    assert desk.table.parent == 1
    desk.hear(2, announcement(STRONGEST, SIGNERS[8], sequence=5))
    assert desk.table.parent == 2
    assert roots(desk.announced(1)) == [Root(STRONGEST.public_key, 5)]


def test_lost_parent_is_replaced_even_by_a_lower_sequence_which_is_excused_first() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[7], sequence=4)
    desk.follow(2, STRONGEST, SIGNERS[8], sequence=3)
    desk.follow(3, WEAKEST)
    own_sequence = desk.router.tree.sequence
    desk.remove(1)
    assert desk.table.parent == 2
    told = roots(desk.announced(3))
    assert told[-1] == Root(STRONGEST.public_key, 3)
    assert told[:-1] == [Root(OWN.public_key, told[0].sequence)]
    assert told[0].sequence > own_sequence


def test_a_lower_sequence_is_excused_even_where_no_other_frame_finds_room() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[7], sequence=4)
    desk.follow(2, STRONGEST, SIGNERS[8], sequence=3)
    desk.follow(3, WEAKEST)
    filler = encode_frame(UnknownFrame(99, bytes(4096 - HEADER_LENGTH)))
    while desk.queues[3].push_protocol(filler):
        pass
    desk.remove(1)
    told = roots(desk.announced(3))
    assert [root.public_key for root in told] == [OWN.public_key, STRONGEST.public_key]


def test_lost_parent_without_another_makes_us_root_and_says_so() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.follow(2, WEAKEST)
    own_sequence = desk.router.tree.sequence
    desk.remove(1)
    assert desk.root == Root(OWN.public_key, own_sequence + 1)
    assert roots(desk.announced(2)) == [desk.root]
    assert desk.router.tree.waiting_until is None


def test_losing_a_peer_that_is_not_the_parent_changes_nothing() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.follow(2, WEAKEST)
    desk.remove(2)
    assert desk.table.parent == 1
    assert desk.announced(1) == []


def test_last_peering_gone_starts_afresh_with_a_higher_sequence() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST)
    own_sequence = desk.router.tree.sequence
    desk.remove(1)
    assert desk.root == Root(OWN.public_key, own_sequence + 1)
    assert (desk.table.parent, desk.table.coords) == (None, ())
    assert desk.table.peers == {}


def test_root_announces_itself_every_thirty_minutes_and_others_do_not() -> None:
    desk = Desk()
    desk.follow(1, WEAKEST)
    sequence = desk.root.sequence
    desk.advance(ANNOUNCEMENT_INTERVAL - 0.5)
    assert desk.announced(1) == []
    desk.advance(0.5)
    assert roots(desk.announced(1)) == [Root(OWN.public_key, sequence + 1)]
    desk.hear(1, announcement(STRONGEST, WEAKEST))
    desk.silence()
    desk.advance(ANNOUNCEMENT_INTERVAL)
    assert desk.announced(1) == []


def test_announcement_of_45_minutes_makes_no_parent() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, SIGNERS[7], sequence=4)
    desk.follow(2, STRONGEST, SIGNERS[8], sequence=4)
    desk.advance(ANNOUNCEMENT_TIMEOUT - 1)
    assert desk.table.parent == 1
    desk.advance(1)
    desk.remove(1)
    assert desk.table.parent is None


@pytest.mark.parametrize(
    ("update", "cause"),
    [
        (Announcement(Root(WEAKEST.public_key, 1), ()), "without hops"),
        (announcement(STRONGEST, SIGNERS[8]), "last signer is not the peer"),
        (announcement(STRONGEST, WEAKEST, ports=(0, 1)), "port 0"),
        (announcement(STRONGEST, WEAKEST, SIGNERS[8], SIGNERS[8], WEAKEST), "loop"),
    ],
)
def test_rule_breakers_end_their_peering(update: Announcement, cause: str) -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    with pytest.raises(PeerFaultError, match=cause):
        desk.hear(1, update)
    assert desk.router.peers[1].heard is None


def test_announcement_that_its_root_did_not_begin_ends_the_peering() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    stolen = announcement(SIGNERS[3], WEAKEST)
    with pytest.raises(PeerFaultError, match="not begun by its root"):
        desk.hear(1, Announcement(Root(STRONGEST.public_key, 1), stolen.hops))


def test_bad_signature_ends_the_peering() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    good = announcement(STRONGEST, WEAKEST)
    with pytest.raises(PeerFaultError, match="bad signature"):
        desk.hear(1, Announcement(Root(STRONGEST.public_key, 2), good.hops))


def test_old_sequence_of_the_same_root_ends_the_peering_and_of_another_does_not() -> None:
    desk = Desk()
    desk.follow(1, STRONGEST, WEAKEST, sequence=5)
    desk.hear(1, announcement(SIGNERS[9], WEAKEST, sequence=1))
    desk.hear(1, announcement(STRONGEST, WEAKEST, sequence=2))
    with pytest.raises(PeerFaultError, match="old sequence"):
        desk.hear(1, announcement(STRONGEST, WEAKEST, sequence=1))


def test_another_peering_to_the_parent_stands_in_while_the_first_is_not_live() -> None:
    """Or the way to keys above our own, and so to addresses whose whole key is not known, would be lost."""
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.follow(2, STRONGEST)
    prefix = STRONGEST.public_key[:15].ljust(32, b"\0")

    def way() -> int | None:
        return next_hop_snake(desk.table, prefix, False, FULL, desk.seconds)[0]

    assert way() == 1
    desk.router.set_live(1, live=False)
    assert (way(), desk.router.tree.parent and desk.router.tree.parent.port) == (2, 1)
    desk.hear(2, announcement(WEAKEST, STRONGEST))  # it does not lead to our root any more
    assert way() == LOCAL
