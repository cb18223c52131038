# SPDX-License-Identifier: Apache-2.0
"""The virtual snake: bootstraps of ours and of others, at exact times."""

import timeit
from dataclasses import replace
from functools import partial

import pytest

from pineconed.clock import Now
from pineconed.dataplane.next_hop import next_hop_snake
from pineconed.router import snake as snake_module
from pineconed.router.snake import BootstrapVerdict, Entry
from pineconed.wire.frame import BootstrapFrame
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import MAX_PAYLOAD_LENGTH, decode_payload
from pineconed.wire.watermark import FULL, Watermark
from tests.unit.router.desk import OWN, SIGNERS, START_MS, STRONGEST, WEAKEST, Desk, bootstrap

LOW, LOWER_MID, MID, HIGH = SIGNERS[1], SIGNERS[2], SIGNERS[4], SIGNERS[8]


@pytest.fixture
def desk() -> Desk:
    """We follow the strongest node by port 1; ports 2 and 3 lead to weaker peers."""
    desk = Desk()
    desk.follow(1, STRONGEST)
    desk.follow(2, WEAKEST)
    desk.follow(3, SIGNERS[3])
    return desk


def take(desk: Desk, port: int, frame: BootstrapFrame) -> BootstrapVerdict:
    return desk.router.handle_bootstrap(port, frame, desk.now)


def test_first_upkeep_bootstraps_toward_the_root_and_then_every_five_seconds(desk: Desk) -> None:
    desk.advance(0.9)
    assert desk.bootstraps(1) == []
    desk.advance(0.1)
    (sent,) = desk.bootstraps(1)
    assert sent.destination_key == OWN.public_key
    assert sent.watermark == Watermark(STRONGEST.public_key, 0)
    assert decode_payload(sent.payload).root == desk.root
    assert decode_payload(sent.payload).sequence == START_MS + 1000
    desk.advance(4.9)
    assert desk.bootstraps(1) == []
    desk.advance(0.1)
    assert len(desk.bootstraps(1)) == 1


def test_sequences_of_our_bootstraps_rise_even_when_the_clock_is_set_back(desk: Desk) -> None:
    desk.advance(1.0)
    first = decode_payload(desk.bootstraps(1)[0].payload).sequence
    desk.router.snake.bootstrap_soon()
    desk.router.snake.upkeep(desk.root, is_root=False, now=desk.now._replace(unix_ms=5))
    assert decode_payload(desk.bootstraps(1)[0].payload).sequence == first + 1


def test_a_root_does_not_bootstrap() -> None:
    desk = Desk()
    desk.follow(1, WEAKEST)
    desk.advance(30)
    assert desk.bootstraps(1) == []


def test_bootstrap_is_stored_and_passed_on_with_the_watermark_of_the_next_hop(desk: Desk) -> None:
    frame = replace(bootstrap(LOW, desk.root, trailer=b"trailer"), extra=9, hop_limit=3, version=7)
    assert take(desk, 2, frame) is BootstrapVerdict.STORED
    entry = desk.router.snake.entries[LOW.public_key]
    assert (entry.source, entry.destination, entry.sequence) == (2, 3, 1)
    (onward,) = desk.bootstraps(3)
    assert onward == replace(frame, watermark=Watermark(SIGNERS[3].public_key, 0))


def test_bootstrap_that_would_go_back_is_stored_and_goes_no_further(desk: Desk) -> None:
    assert take(desk, 3, bootstrap(LOW, desk.root)) is BootstrapVerdict.STORED
    assert [desk.bootstraps(port) for port in (1, 2, 3)] == [[], [], []]


def test_bootstrap_whose_watermark_would_get_worse_goes_no_further(desk: Desk) -> None:
    frame = bootstrap(LOW, desk.root, watermark=Watermark(LOWER_MID.public_key, 0))
    assert take(desk, 2, frame) is BootstrapVerdict.STORED
    assert desk.bootstraps(3) == []


def test_own_bootstrap_ends_at_us_when_nobody_is_closer() -> None:
    desk = Desk()
    desk.follow(1, WEAKEST)
    assert take(desk, 1, bootstrap(LOW, desk.root)) is BootstrapVerdict.STORED
    assert desk.router.snake.entries[LOW.public_key].destination is None


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (BootstrapFrame(LOW.public_key, FULL, b"short"), BootstrapVerdict.MALFORMED),
        (bootstrap(LOW, Root(STRONGEST.public_key, 99)), BootstrapVerdict.OTHER_ROOT),
        (
            replace(bootstrap(LOW, Root(STRONGEST.public_key, 1)), destination_key=MID.public_key),
            BootstrapVerdict.BAD_SIGNATURE,
        ),
    ],
)
def test_bad_bootstraps_are_dropped_and_counted(
    desk: Desk, frame: BootstrapFrame, verdict: BootstrapVerdict
) -> None:
    assert take(desk, 2, frame) is verdict
    assert desk.router.dropped[verdict] == 1
    assert desk.router.snake.entries == {}


def test_only_a_higher_sequence_renews_an_entry(desk: Desk) -> None:
    take(desk, 2, bootstrap(LOW, desk.root, sequence=5))
    assert take(desk, 3, bootstrap(LOW, desk.root, sequence=5)) is BootstrapVerdict.OLD
    assert take(desk, 3, bootstrap(LOW, desk.root, sequence=6)) is BootstrapVerdict.STORED
    assert desk.router.snake.entries[LOW.public_key].source == 3


def test_frames_follow_a_path_for_eight_and_a_half_seconds(desk: Desk) -> None:
    take(desk, 2, bootstrap(LOW, desk.root))
    seen = desk.seconds
    hop = next_hop_snake(desk.table, LOW.public_key, False, FULL, seen + 8.4)
    assert hop == (2, LOW.public_key, 1)
    assert next_hop_snake(desk.table, LOW.public_key, False, FULL, seen + 8.5)[1] != LOW.public_key


def test_entries_run_out_after_ten_seconds(desk: Desk) -> None:
    take(desk, 2, bootstrap(LOW, desk.root))
    desk.advance(4)
    take(desk, 3, bootstrap(LOWER_MID, desk.root))
    desk.advance(5.9)
    assert set(desk.router.snake.entries) == {LOW.public_key, LOWER_MID.public_key}
    desk.advance(0.2)
    assert set(desk.router.snake.entries) == {LOWER_MID.public_key}
    assert set(desk.table.entries) == {LOWER_MID.public_key}


def test_a_bootstrap_that_comes_by_the_path_to_its_next_hop_proves_that_path_stale(desk: Desk) -> None:
    take(desk, 2, bootstrap(LOWER_MID, desk.root))
    desk.silence()
    assert take(desk, 2, bootstrap(LOW, desk.root)) is BootstrapVerdict.STORED
    assert set(desk.router.snake.entries) == {LOW.public_key}
    assert [frame.destination_key for frame in desk.bootstraps(3)] == [LOW.public_key]


def test_a_bootstrap_follows_at_once_when_it_would_go_another_way(desk: Desk) -> None:
    desk.advance(1.0)
    assert len(desk.bootstraps(1)) == 1
    take(desk, 2, bootstrap(HIGH, desk.root))
    desk.silence()
    desk.advance(1.0)
    assert [frame.watermark.public_key for frame in desk.bootstraps(2)] == [HIGH.public_key]
    desk.silence()
    desk.advance(4.0)
    assert desk.bootstraps(2) == []


def test_the_closest_key_below_ours_becomes_the_descending_node(desk: Desk) -> None:
    snake = desk.router.snake
    take(desk, 2, bootstrap(LOWER_MID, desk.root))
    assert snake.descending is snake.entries[LOWER_MID.public_key]
    take(desk, 3, bootstrap(LOW, desk.root))
    take(desk, 2, bootstrap(HIGH, desk.root))
    assert snake.descending is snake.entries[LOWER_MID.public_key]
    take(desk, 2, bootstrap(MID, desk.root))
    assert snake.descending is snake.entries[MID.public_key]
    take(desk, 2, bootstrap(MID, desk.root, sequence=2))
    assert snake.descending.sequence == 2


def test_a_new_descending_node_makes_us_bootstrap_at_the_next_upkeep(desk: Desk) -> None:
    desk.advance(1.5)
    desk.silence()
    take(desk, 2, bootstrap(LOW, desk.root))
    desk.advance(0.5)
    assert len(desk.bootstraps(1)) == 1


def test_an_expired_descending_node_gives_way_to_a_weaker_one(desk: Desk) -> None:
    take(desk, 2, bootstrap(MID, desk.root))
    desk.seconds += 10
    take(desk, 2, bootstrap(LOW, desk.root))
    descending = desk.router.snake.descending
    assert descending is not None
    assert descending.public_key == LOW.public_key


@pytest.mark.parametrize("root", [None, Root(STRONGEST.public_key, 2)])
def test_the_descending_node_is_forgotten_with_age_or_another_root(desk: Desk, root: Root | None) -> None:
    take(desk, 2, bootstrap(LOW, desk.root))
    desk.seconds += 10 if root is None else 1
    desk.router.snake.upkeep(root or desk.root, is_root=False, now=desk.now)
    assert desk.router.snake.descending is None


def test_paths_through_a_lost_peering_are_forgotten(desk: Desk) -> None:
    take(desk, 2, bootstrap(LOW, desk.root))
    take(desk, 3, bootstrap(LOWER_MID, desk.root))
    assert desk.router.snake.descending is desk.router.snake.entries[LOWER_MID.public_key]
    desk.remove(3)
    assert desk.router.snake.entries == {}
    assert desk.table.entries == {}
    assert desk.router.snake.descending is None


def test_a_full_share_refuses_new_keys_and_renews_old_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.router.snake.shares, "limit", 4)
    monkeypatch.setattr(desk.router.snake.shares, "common", 0)
    assert take(desk, 2, bootstrap(LOW, desk.root)) is BootstrapVerdict.STORED
    assert take(desk, 2, bootstrap(LOWER_MID, desk.root)) is BootstrapVerdict.NO_ROOM
    assert take(desk, 2, bootstrap(LOW, desk.root, sequence=2)) is BootstrapVerdict.STORED
    assert take(desk, 3, bootstrap(LOWER_MID, desk.root)) is BootstrapVerdict.STORED


def test_signature_work_of_one_peering_is_bounded_and_of_another_unharmed(desk: Desk) -> None:
    forged = replace(bootstrap(LOW, desk.root), destination_key=MID.public_key)
    verdicts = [take(desk, 2, forged) for _ in range(600)]
    assert verdicts.count(BootstrapVerdict.OVER_BUDGET) >= 100
    assert verdicts.count(BootstrapVerdict.BAD_SIGNATURE) <= 500
    assert take(desk, 3, bootstrap(LOW, desk.root)) is BootstrapVerdict.STORED
    desk.seconds += 1.0
    assert take(desk, 2, bootstrap(LOWER_MID, desk.root)) is BootstrapVerdict.STORED


def test_what_travels_behind_a_signature_is_bounded(desk: Desk) -> None:
    """Bootstraps go before all traffic: long ones would take a link from everybody else."""
    frame = bootstrap(LOW, desk.root)
    room = MAX_PAYLOAD_LENGTH - len(frame.payload)
    longest = bootstrap(LOW, desk.root, trailer=bytes(room))
    assert take(desk, 2, bootstrap(LOW, desk.root, trailer=bytes(room + 1))) is BootstrapVerdict.MALFORMED
    assert take(desk, 2, longest) is BootstrapVerdict.STORED
    assert [passed.payload for passed in desk.bootstraps(3)] == [longest.payload]


def test_a_peer_that_comes_and_goes_costs_nothing_for_the_paths_of_others(desk: Desk) -> None:
    snake = desk.router.snake
    for number in range(snake_module.MAX_ENTRIES):
        snake._store(Entry(number.to_bytes(32), 1, 2, 1, desk.seconds, desk.root))
    assert min(timeit.repeat(partial(snake.forget_port, 3), number=10)) < 0.005
    snake.upkeep(desk.root, is_root=False, now=Now(desk.seconds + 10, 0))
    assert snake.entries == desk.table.entries == {}


def test_the_table_is_bounded() -> None:
    assert Desk().router.snake.shares.limit == snake_module.MAX_ENTRIES
