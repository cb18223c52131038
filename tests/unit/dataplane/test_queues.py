# SPDX-License-Identifier: Apache-2.0
"""Queues: order, fairness, bounds, and what is counted."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.dataplane.counters import Counters, DropCause
from pineconed.dataplane.queues import (
    MAX_ANNOUNCEMENTS,
    PEERING_LIMIT,
    PROTOCOL_LIMIT,
    SLOW_PEERING_LIMIT,
    TOTAL_LIMIT,
    PeerQueue,
    QueueBudget,
    Queues,
)
from pineconed.wire.announcement import Announcement, encode_announcement
from pineconed.wire.frame import TreeAnnouncementFrame, encode_frame
from pineconed.wire.framer import Framer
from pineconed.wire.root import Root
from tests.unit.dataplane.pushing import frame, labels, push, taken

# Order


def test_frames_of_a_flow_keep_their_order(queue: PeerQueue) -> None:
    for label in range(100):
        push(queue, label, 500)
    assert labels(queue, 500) == list(range(100))


def test_protocol_goes_first(queue: PeerQueue) -> None:
    push(queue, 1, 100)
    assert queue.push_protocol(b"p1")
    queue.push_announcement(announcement(1, 1))
    assert queue.push_protocol(b"p2")
    assert taken(queue, 1 << 20) == announcement(1, 1) + b"p1p2" + frame(1, 100)


def test_traffic_waits_while_announcements_are_left(queue: PeerQueue) -> None:
    push(queue, 1, 10)
    queue.push_announcement(announcement(1, 1))
    queue.push_announcement(announcement(2, 1))
    budget = len(announcement(1, 1)) + 20
    assert taken(queue, budget) == announcement(1, 1)
    assert taken(queue, budget) == announcement(2, 1) + frame(1, 10)


def test_a_keepalive_is_sent_first_and_only_when_nothing_else_is(queue: PeerQueue) -> None:
    queue.push_keepalive(b"alive")
    queue.push_keepalive(b"alive")
    queue.push_protocol(b"bootstrap")
    push(queue, 1, 100)
    queue.push_keepalive(b"alive")
    assert taken(queue, 1 << 20) == b"alive" + b"bootstrap" + frame(1, 100)


# The share of bootstraps and broadcasts


def test_bootstraps_get_half_of_what_is_sent_while_traffic_waits(queue: PeerQueue) -> None:
    for label in range(100):
        queue.push_protocol(bytes([0xFF]) * 300)
        push(queue, label, 300)
    for _ in range(8):
        sent = taken(queue, 3000)
        assert sent.count(bytes([0xFF]) * 300) == 5
        assert len(sent) == 3000


def test_bootstraps_get_everything_while_no_traffic_waits(queue: PeerQueue) -> None:
    for _ in range(100):
        queue.push_protocol(bytes(300))
    assert len(taken(queue, 3000)) == 3000
    push(queue, 1, 300)
    assert len(taken(queue, 3000)) == 1500 + 300
    assert len(taken(queue, 3000)) == 3000


@pytest.mark.parametrize(("bootstrap", "size"), [(300, 60_000), (60_000, 300), (60_000, 60_000), (300, 9000)])
def test_neither_bootstraps_nor_traffic_starve_when_frames_are_long(
    queue: PeerQueue, bootstrap: int, size: int
) -> None:
    sent = Counter[str]()
    for _ in range(200):
        while queue.protocol_size < 200_000:
            queue.push_protocol(bytes(bootstrap))
        while queue.traffic_size < 200_000:
            push(queue, 0xFFFF, size)
        before = queue.traffic_size
        buffers = queue.take(16_384)
        sent["traffic"] += before - queue.traffic_size
        sent["all"] += sum(map(len, buffers))
    assert sent["traffic"] >= sent["all"] / 2 - 60_000
    assert sent["traffic"] <= 0.9 * sent["all"]


def test_announcements_pass_a_flood_of_bootstraps(queue: PeerQueue) -> None:
    while queue.push_protocol(bytes(300)):
        pass
    push(queue, 1, 300)
    taken(queue, 3000)
    queue.push_announcement(announcement(1, 1))
    queue.push_announcement(announcement(2, 1))
    assert taken(queue, 3000).startswith(announcement(1, 1) + announcement(2, 1))


def test_an_excuse_stays_before_the_announcement_that_needs_it(queue: PeerQueue) -> None:
    queue.push_announcement(announcement(9, 1))
    queue.push_protocol(b"bootstrap")
    queue.push_announcement(announcement(1, 3))
    assert taken(queue, 1 << 20) == announcement(9, 1) + announcement(1, 3) + b"bootstrap"


def test_traffic_uses_what_protocol_leaves_of_the_budget(queue: PeerQueue) -> None:
    queue.push_protocol(bytes(50))
    push(queue, 1, 60)
    push(queue, 2, 60)
    assert taken(queue, 110) == bytes(50) + frame(1, 60)
    assert taken(queue, 50) == frame(2, 60)


def test_a_frame_above_the_budget_comes_alone(queue: PeerQueue) -> None:
    push(queue, 1, 5000)
    push(queue, 2, 5000)
    assert taken(queue, 10) == frame(1, 5000)
    queue.push_protocol(bytes(5000))
    assert taken(queue, 10) == bytes(5000)
    queue.push_protocol(bytes(5000))
    assert taken(queue, 10) == frame(2, 5000)
    assert taken(queue, 10) == bytes(5000)
    assert queue.take(10) == []


# Announcements


def announcement(root: int, sequence: int) -> bytes:
    payload = encode_announcement(Announcement(Root(bytes([root]) * 32, sequence), ()))
    return encode_frame(TreeAnnouncementFrame(payload))


def test_a_new_announcement_replaces_one_of_its_root_that_waits_and_goes_last(queue: PeerQueue) -> None:
    queue.push_announcement(announcement(1, 1))
    queue.push_protocol(b"between")
    queue.push_announcement(announcement(1, 2))
    assert taken(queue, 1 << 20) == announcement(1, 2) + b"between"
    assert queue.size == 0
    queue.push_announcement(announcement(1, 3))
    assert taken(queue, 1 << 20) == announcement(1, 3)


def test_an_announcement_of_another_root_stays_between_two_of_one_root(queue: PeerQueue) -> None:
    queue.push_announcement(announcement(1, 5))
    taken(queue, 1 << 20)
    queue.push_announcement(announcement(2, 7))
    queue.push_announcement(announcement(1, 3))
    queue.push_announcement(announcement(1, 4))
    assert taken(queue, 1) == announcement(2, 7)
    queue.push_announcement(announcement(1, 5))
    assert taken(queue, 1 << 20) == announcement(1, 5)


def test_announcements_that_wait_are_bounded(queue: PeerQueue) -> None:
    for root in range(100):
        queue.push_announcement(announcement(root, 1))
    assert queue.frames == MAX_ANNOUNCEMENTS
    assert taken(queue, 1 << 20).endswith(announcement(99, 1))


def test_what_the_bound_takes_out_leaves_no_lower_sequence_behind_a_higher_one(queue: PeerQueue) -> None:
    roots = [(n, 5) for n in range(1, MAX_ANNOUNCEMENTS + 1)]
    for root, sequence in roots:
        queue.push_announcement(announcement(root, sequence))
    queue.push_announcement(announcement(MAX_ANNOUNCEMENTS - 1, 2))
    *kept, _, _ = (announcement(*root) for root in roots)
    assert taken(queue, 1 << 20) == b"".join([*kept, announcement(MAX_ANNOUNCEMENTS - 1, 2)])


def test_of_two_equal_announcements_that_wait_the_later_one_is_taken_out(queue: PeerQueue) -> None:
    for root in (1, 2, 1):
        queue.push_announcement(announcement(root, 5))
    queue.push_announcement(announcement(1, 6))
    assert taken(queue, 1 << 20) == announcement(1, 5) + announcement(2, 5) + announcement(1, 6)
    for root in range(100):
        queue.push_announcement(announcement(root, 1))
    assert queue.frames == MAX_ANNOUNCEMENTS


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), max_size=60))
def test_no_sequence_falls_while_lower_ones_are_excused(steps: list[tuple[int, int, bool]]) -> None:
    """As the tree does it: before a lower sequence of the root last told goes another root, here number 9."""
    queue, excuses, told, stream = Queues().add(1), 0, (0, 0), b""
    for root, sequence, sends in steps:
        if root == told[0] and sequence < told[1]:
            excuses += 1
            queue.push_announcement(announcement(9, excuses))
        queue.push_announcement(announcement(root, sequence))
        told = root, sequence
        stream += taken(queue, 1) if sends else b""
    frames, _ = Framer().split(memoryview(stream + taken(queue, 1 << 20)))
    roots = [(frame[12], frame[44]) for frame in frames]
    assert roots[-1:] == [told][: len(steps)]
    assert all(a[0] != b[0] or a[1] <= b[1] for a, b in pairwise(roots))


def test_an_announcement_is_always_taken(queue: PeerQueue) -> None:
    while queue.push_protocol(bytes(1024)):
        pass
    assert queue.protocol_size == PROTOCOL_LIMIT
    queue.push_announcement(bytes(2000))
    queue.push_announcement(bytes(3000))
    assert queue.protocol_size == PROTOCOL_LIMIT + 3000


# Bounds


def test_the_bound_of_a_peering_holds_when_a_long_frame_follows_short_ones(queue: PeerQueue) -> None:
    for _ in range(PEERING_LIMIT // 100):
        push(queue, 1, 100)
    for _ in range(10):
        push(queue, 2, 60_000)
        assert queue.traffic_size <= PEERING_LIMIT


def test_a_full_protocol_queue_refuses(queues: Queues, queue: PeerQueue) -> None:
    assert queue.push_protocol(bytes(PROTOCOL_LIMIT))
    assert not queue.push_protocol(b"x")
    assert queues.counters.drops_at(1) == {"protocol_full": 1}
    queue.take(1)
    assert queue.push_protocol(b"x")


def test_all_together_are_bounded_and_the_fullest_pays() -> None:
    queues = Queues(QueueBudget(limit=100_000))
    stalled, other = queues.add(1), queues.add(2)
    for label in range(95):
        push(stalled, label, 1000)
    for label in range(40):
        push(other, label, 1000)
    assert stalled.size + other.size <= 100_000
    assert labels(other, 1000) == list(range(40))
    drops = queues.counters.drops_at(1)
    assert set(drops) == {"memory_full"}
    assert 35 <= drops["memory_full"] <= 80
    assert not queues.counters.drops_at(2)


def test_protocol_frames_pay_when_there_is_no_traffic_but_never_an_announcement() -> None:
    queues = Queues(QueueBudget(limit=10_000))
    stalled, other = queues.add(1), queues.add(2)
    stalled.push_announcement(bytes(3000))
    for _ in range(6):
        stalled.push_protocol(bytes(1000))
    other.push_protocol(bytes(1500))
    assert other.size == 1500
    assert stalled.size == 6000
    assert queues.counters.drops() | {"memory_full": 0} == dict.fromkeys(DropCause, 0)
    assert queues.counters.drops_at(1)["memory_full"] == 3
    stalled.push_announcement(bytes(11_000))
    assert stalled.size == 11_000


def test_a_queue_that_lost_everything_is_not_ready() -> None:
    queues = Queues(QueueBudget(limit=1000))
    push(queues.add(1), 1, 2000)
    assert queues.ready() == []
    assert queues[1].size == 0


def test_the_default_limits() -> None:
    queues = Queues()
    for port in range(1, 21):
        queue = queues.add(port)
        for label in range(17):
            push(queue, label, 65_000)
    sizes = [queues[port].size for port in range(1, 21)]
    assert max(sizes) <= PEERING_LIMIT
    assert TOTAL_LIMIT - 200_000 <= sum(sizes) <= TOTAL_LIMIT
    assert min(sizes) >= PEERING_LIMIT - 5 * 65_000


# Ports


def test_ready_ports_come_in_order_until_they_are_empty() -> None:
    queues = Queues()
    for port in (9, 3, 5):
        push(queues.add(port), port, 100)
    queues[5].push_protocol(b"x")
    assert queues.ready() == [3, 5, 9]
    queues[3].take(1)
    assert queues.ready() == [5, 9]
    queues[5].take(1)
    assert queues.ready() == [5, 9]
    queues[5].take(100)
    assert queues.ready() == [9]


def test_a_removed_port_leaves_nothing_behind() -> None:
    budget = QueueBudget()
    queues = Queues(budget)
    queue = queues.add(4)
    push(queue, 1, 100)
    queue.push_protocol(b"x")
    queues.remove(4)
    assert budget.used == 0
    assert queues.ready() == []
    assert queues.counters.drops_at(4) == {"peering_ended": 2}
    with pytest.raises(KeyError):
        queues[4]
    with pytest.raises(KeyError):
        queues.remove(4)
    queues.add(4)
    assert queues.counters.drops_at(4) == {}
    assert queues.counters.drops()["peering_ended"] == 2
    with pytest.raises(ValueError, match="port 4"):
        queues.add(4)


def test_what_was_sent_is_counted(queues: Queues, queue: PeerQueue) -> None:
    queue.push_protocol(b"abc")
    queue.push_announcement(b"defgh")
    push(queue, 1, 100)
    push(queue, 2, 4000)
    assert queue.frames == 4
    assert queue.size == 4108
    queue.take(200)
    counters = queues.counters
    assert (counters.tx_protocol_frames[1], counters.tx_protocol_bytes[1]) == (2, 8)
    assert (counters.tx_frames[1], counters.tx_bytes[1]) == (1, 100)
    queue.take(200)
    assert (counters.tx_frames[1], counters.tx_bytes[1]) == (2, 4100)
    assert queue.frames == 0
    assert queue.size == 0


def test_counters_of_a_port_begin_anew() -> None:
    counters = Counters()
    counters.rx_frames[3] = counters.rx_bytes[3] = 5
    counters.drop(DropCause.NO_ROUTE, 3, 2)
    counters.drop(DropCause.NO_ROUTE, 4)
    counters.reset_port(3)
    assert counters.rx_frames[3] == counters.rx_bytes[3] == 0
    assert counters.drops_at(3) == {}
    assert counters.drops_at(4) == {"no_route": 1}
    assert counters.drops()["no_route"] == 3


def test_less_waits_for_a_slow_peering() -> None:
    queue = Queues().add(1, SLOW_PEERING_LIMIT)
    for label in range(1000):
        push(queue, label, 1000)
    assert SLOW_PEERING_LIMIT - 2000 < queue.traffic_size <= SLOW_PEERING_LIMIT
