# SPDX-License-Identifier: Apache-2.0
"""What peers may make us verify: budgets, prefixes remembered, the newest announcement waits."""

import pytest

from pineconed.router import verification
from pineconed.router.errors import PeerFaultError
from pineconed.router.verification import (
    COMMON_BURST,
    COMMON_PER_SECOND,
    RESERVE_PER_SECOND,
    RESERVE_START,
    AnnouncementVerifier,
    SignatureBudget,
    common_budget,
)
from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.announcement import Announcement, append_hop
from pineconed.wire.root import Root
from tests.unit.router.desk import OWN, SIGNERS, STRONGEST, WEAKEST, Desk, announcement


class Counting:
    """A verifier that counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.calls += 1
        return verify_ed25519(public_key, message, signature)


def long_announcement(hops: int, last: Ed25519Signer, sequence: int = 1) -> Announcement:
    """A chain of invented nodes below the strongest one, with valid signatures."""
    invented = [Ed25519Signer(n.to_bytes(32)) for n in range(1000, 1000 + hops - 2)]
    update = Announcement(Root(STRONGEST.public_key, sequence), ())
    for signer in (STRONGEST, *invented, last):
        update = append_hop(update, 1, signer)
    return update


def test_many_peerings_share_one_budget_and_each_keeps_a_reserve() -> None:
    common = common_budget()
    honest, *crowd = (SignatureBudget(common, 0.0) for _ in range(65))
    spent = 0
    for tenth in range(301):
        for stranger in crowd:
            spent += sum(not stranger.spend(1, tenth / 10) for _ in range(51))
    assert spent <= 30 * (COMMON_PER_SECOND + 64 * RESERVE_PER_SECOND) + COMMON_BURST + 64 * RESERVE_START
    assert honest.spend(265, 30.0) == 0.0
    assert crowd[0].spend(265, 30.0) > 0.0


def test_a_peering_that_comes_again_and_again_gets_no_budget_of_its_own() -> None:
    common = common_budget()
    spent = 0
    for _ in range(100):
        budget = SignatureBudget(common, 0.0)
        spent += sum(not budget.spend(1, 0.0) for _ in range(501))
    assert spent == COMMON_BURST + 98 * RESERVE_START


def test_prefixes_are_verified_once() -> None:
    counting = Counting()
    verifier = AnnouncementVerifier(counting)
    first = announcement(STRONGEST, SIGNERS[7], SIGNERS[8])
    verifier.verify(verifier.unverified(first))
    assert counting.calls == 3
    assert verifier.unverified(first) == []
    sibling = append_hop(Announcement(first.root, first.hops[:2]), 9, WEAKEST)
    verifier.verify(verifier.unverified(sibling))
    assert counting.calls == 4


def test_a_bad_prefix_is_never_remembered() -> None:
    verifier = AnnouncementVerifier(verify_ed25519)
    good = announcement(STRONGEST, SIGNERS[7])
    bad = Announcement(Root(STRONGEST.public_key, 9), good.hops)
    for _ in range(2):
        with pytest.raises(PeerFaultError, match="bad signature"):
            verifier.verify(verifier.unverified(bad))


def test_memory_of_prefixes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "REMEMBERED_PREFIXES", 2)
    verifier = AnnouncementVerifier(verify_ed25519)
    update = announcement(STRONGEST, SIGNERS[7], SIGNERS[8])
    verifier.verify(verifier.unverified(update))
    assert verifier.unverified(Announcement(update.root, update.hops[:1])) != []
    assert verifier.unverified(update) == []


def test_an_announcement_of_255_hops_counts_and_one_of_256_does_not() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    desk.hear(1, long_announcement(255, WEAKEST))
    assert desk.table.parent == 1
    desk.hear(1, long_announcement(256, WEAKEST, sequence=2))
    assert desk.router.peers[1].heard is None
    assert desk.root.public_key == OWN.public_key
    assert desk.router.dropped["announcement_too_long"] == 1


def test_beyond_the_budget_the_newest_announcement_waits() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    for sequence in range(1, 6):
        desk.hear(1, long_announcement(200, WEAKEST, sequence))
    assert desk.root.sequence == 2
    assert desk.router.dropped["announcement_delayed"] == 1
    desk.advance(0.25)
    assert desk.root.sequence == 2
    desk.advance(0.02)
    assert desk.root.sequence == 5


def test_an_older_sequence_behind_another_root_is_fine_though_that_root_only_waits() -> None:
    """A flood behind an honest peer exhausts the budget of that peer, who must not pay for it."""
    desk = Desk()
    desk.add(1, SIGNERS[8])
    desk.hear(1, announcement(STRONGEST, SIGNERS[8], sequence=9))
    assert desk.router._budgets[1].spend(470, desk.seconds) == 0.0
    desk.hear(1, long_announcement(60, SIGNERS[8], sequence=10))
    desk.hear(1, announcement(SIGNERS[8], sequence=50))
    desk.hear(1, announcement(STRONGEST, SIGNERS[8], sequence=7))
    desk.advance(0.2)
    assert desk.root == Root(OWN.public_key, desk.router.tree.sequence)
    desk.advance(1.1)
    assert desk.root == Root(STRONGEST.public_key, 7)


def test_a_delayed_announcement_may_turn_out_bad() -> None:
    desk = Desk()
    desk.add(1, WEAKEST)
    for sequence in (1, 2):
        desk.hear(1, long_announcement(250, WEAKEST, sequence))
    good = long_announcement(250, WEAKEST, 3)
    desk.hear(1, Announcement(Root(STRONGEST.public_key, 4), good.hops))
    desk.seconds = desk.router.deadline()
    ((port, fault),) = desk.router.handle_timer(desk.now)
    assert (port, fault.cause) == (1, "announcement with a bad signature")


def test_what_waits_is_dropped_with_its_peering_or_by_one_too_long() -> None:
    desk = Desk()
    for port, signer in ((1, WEAKEST), (2, SIGNERS[3])):
        desk.add(port, signer)
        for sequence in (1, 2, 3):
            desk.hear(port, long_announcement(250, signer, sequence + 10 * port))
    desk.hear(1, long_announcement(256, WEAKEST, 40))
    desk.remove(2)
    desk.advance(5)
    assert desk.root.public_key == OWN.public_key
