# SPDX-License-Identifier: Apache-2.0
"""Queues: order, fairness, bounds, and what is counted."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.dataplane.counters import Counters, DropCause
from pineconed.dataplane.queues import (
    JOIN_LIMIT,
    MAX_ANNOUNCEMENTS,
    MAX_BUFFERS,
    PEERING_LIMIT,
    PROTOCOL_LIMIT,
    TOTAL_LIMIT,
    Frame,
    PeerQueue,
    QueueBudget,
    Queues,
)
from pineconed.wire.announcement import Announcement, encode_announcement
from pineconed.wire.frame import TreeAnnouncementFrame, encode_frame
from pineconed.wire.framer import Framer
from pineconed.wire.root import Root


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def queue(queues: Queues) -> PeerQueue:
    return queues.add(1)


def frame(label: int, size: int) -> bytes:
    """A frame that can be told from others by its first two bytes."""
    return label.to_bytes(2) + bytes(size - 2)


def push(queue: PeerQueue, label: int, size: int, flow: int = 0) -> None:
    queue.push_traffic(frame(label, size), size, flow)


def taken(queue: PeerQueue, budget: int) -> bytes:
    return b"".join(queue.take(budget))


def labels(queue: PeerQueue, size: int, budget: int = 1 << 30) -> list[int]:
    """The labels of all frames of one size that a take hands out."""
    stream = taken(queue, budget)
    assert len(stream) % size == 0
    return [int.from_bytes(stream[at : at + 2]) for at in range(0, len(stream), size)]


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
    assert taken(queue, 1 << 20) == b"p1" + announcement(1, 1) + b"p2" + frame(1, 100)


def test_traffic_waits_while_protocol_frames_are_left(queue: PeerQueue) -> None:
    push(queue, 1, 100)
    queue.push_protocol(bytes(60))
    queue.push_protocol(bytes(60))
    assert taken(queue, 100) == bytes(60)
    assert taken(queue, 100) == bytes(60)
    assert taken(queue, 100) == frame(1, 100)


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
    assert taken(queue, 10) == frame(2, 5000)
    assert queue.take(10) == []


# Announcements


def announcement(root: int, sequence: int) -> bytes:
    payload = encode_announcement(Announcement(Root(bytes([root]) * 32, sequence), ()))
    return encode_frame(TreeAnnouncementFrame(payload))


def test_a_new_announcement_replaces_one_of_its_root_that_waits_and_goes_last(queue: PeerQueue) -> None:
    queue.push_announcement(announcement(1, 1))
    queue.push_protocol(b"between")
    queue.push_announcement(announcement(1, 2))
    assert taken(queue, 1 << 20) == b"between" + announcement(1, 2)
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


# Fairness


def test_a_ping_passes_a_bulk_transfer(queue: PeerQueue) -> None:
    for label in range(16):
        push(queue, label, 60_000, flow=1)
    assert labels(queue, 60_000, 1) == [0]
    push(queue, 99, 100, flow=2)
    assert taken(queue, 60_000) == frame(99, 100)
    assert labels(queue, 60_000, 1) == [1]


def test_flows_share_by_bytes(queue: PeerQueue) -> None:
    for label in range(300):
        push(queue, 1000 + label, 300, flow=1)
    for label in range(30):
        push(queue, label, 3000, flow=2)
    sent: Counter[int] = Counter()
    while queue.traffic_size > 60_000:
        buffer = taken(queue, 1)
        sent[len(buffer)] += len(buffer)
    assert abs(sent[300] - sent[3000]) <= 2 * 8192 + 3000


def test_a_flow_that_is_empty_now_and_then_does_not_starve_the_others(queue: PeerQueue) -> None:
    for label in range(100):
        push(queue, label, 1000, flow=1)
    sent: Counter[int] = Counter()
    for _ in range(100):
        push(queue, 7777, 1001, flow=2)
        sent[len(taken(queue, 1))] += 1
    assert sent[1000] >= 40


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(2, 4000)), max_size=60), st.integers(1, 10_000))
def test_everything_comes_out_once_in_the_order_of_its_flow(
    pushes: list[tuple[int, int]], budget: int
) -> None:
    queue = Queues().add(1)
    for label, (flow, size) in enumerate(pushes):
        push(queue, label, size, flow)
    order: dict[int, list[int]] = {}
    sizes = {label: size for label, (_, size) in enumerate(pushes)}
    while queue.size:
        stream = taken(queue, budget)
        at = 0
        while at < len(stream):
            label = int.from_bytes(stream[at : at + 2])
            order.setdefault(pushes[label][0] & 0xFF, []).append(label)
            at += sizes[label]
        assert at == len(stream)
        assert len(stream) <= budget or stream == frame(label, len(stream))
    for seen in order.values():
        assert seen == sorted(seen)
    assert sum(map(len, order.values())) == len(pushes)


def test_a_flow_costs_nothing_once_it_is_empty(queue: PeerQueue) -> None:
    for flow in range(256):
        push(queue, flow, 100, flow)
    taken(queue, 1 << 20)
    assert queue._flows == [None] * 256


# Buffers


def test_small_pieces_are_joined_and_large_ones_are_not_copied(queue: PeerQueue) -> None:
    large = bytes(JOIN_LIMIT)
    pushed: list[Frame] = [(b"h1", b"p1"), b"f2", (b"h3", large), large, (b"h5", large, b"t5"), b"f6"]
    for item in pushed:
        size = sum(map(len, item)) if isinstance(item, tuple) else len(item)
        queue.push_traffic(item, size, 0)
    buffers = queue.take(1 << 20)
    assert buffers == [b"h1p1f2h3", large, large, b"h5", large, b"t5f6"]
    assert all(buffers[at] is large for at in (1, 2, 4))


def test_no_more_buffers_than_one_system_call_takes(queue: PeerQueue) -> None:
    for label in range(400):
        queue.push_traffic((b"head", bytes(JOIN_LIMIT)), JOIN_LIMIT + 4, label)
    buffers = queue.take(1 << 20)
    assert len(buffers) == MAX_BUFFERS
    assert len(queue.take(1 << 20)) == 2 * 400 - MAX_BUFFERS


# Bounds


def test_the_oldest_of_the_longest_flow_makes_room(queues: Queues, queue: PeerQueue) -> None:
    size = 1024
    for label in range(300):
        push(queue, 1000 + label, size, flow=1)
    for label in range(400):
        push(queue, 2000 + label, size, flow=2)
    for label in range(324):
        push(queue, 3000 + label, size, flow=3)
    assert queue.traffic_size == PEERING_LIMIT
    for label in range(10):
        push(queue, 1300 + label, size, flow=1)
    assert queue.traffic_size == PEERING_LIMIT
    assert queues.counters.drops_at(1) == {"queue_full": 10}
    left = labels(queue, size)
    assert [label for label in left if 2000 <= label < 3000] == list(range(2010, 2400))
    assert len(left) == 1024


def test_a_flow_that_holds_most_of_the_queue_drops_its_own(queues: Queues, queue: PeerQueue) -> None:
    push(queue, 7, 1000, flow=2)
    for label in range(1100):
        push(queue, 1000 + label, 1000, flow=1)
    assert queues.counters.drops_at(1) == {"queue_full": 1101 - PEERING_LIMIT // 1000}
    assert labels(queue, 1000)[0] == 7


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
