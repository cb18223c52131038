# SPDX-License-Identifier: Apache-2.0
"""The fair queue: order, fairness between ingresses and between flows, buffers, and who makes room."""

from collections import Counter
from itertools import count, islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.dataplane.queues import PEERING_LIMIT, PeerQueue, Queues
from pineconed.dataplane.scheduler import JOIN_LIMIT, MAX_BUFFERS, QUANTUM, Frame
from tests.unit.dataplane.pushing import frame, labels, push, taken

# Fairness between flows


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


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(2, 4000), st.integers(0, 3)), max_size=60),
    st.integers(1, 10_000),
    st.integers(0, 59),
)
def test_everything_comes_out_once_in_the_order_of_its_flow(
    pushes: list[tuple[int, int, int]], budget: int, first: int
) -> None:
    queue, order, late = Queues().add(1), dict[tuple[int, int], list[int]](), iter(enumerate(pushes))
    for label, (flow, size, port) in islice(late, first):
        push(queue, label, size, flow, port)
    while queue.size:
        stream = taken(queue, budget)
        at = label = 0
        while at < len(stream):
            label = int.from_bytes(stream[at : at + 2])
            flow, size, port = pushes[label]
            order.setdefault((port, flow & 0xFF), []).append(label)
            at += size
        assert at == len(stream) > 0
        assert len(stream) <= budget or stream == frame(label, len(stream))
        for later, (flow, size, port) in islice(late, 1):
            push(queue, later, size, flow, port)
    assert all(seen == sorted(seen) for seen in order.values())
    assert sum(map(len, order.values())) == len(pushes) - len(list(late))
    assert queue.traffic_frames == 0
    assert all(ingress.flows == [None] * 256 for ingress in queue._ingresses.values())
    assert len(queue._ingresses) <= 1


def test_flows_and_ingresses_cost_nothing_once_they_are_empty(queue: PeerQueue) -> None:
    for number in range(256):
        push(queue, number, 100, flow=number, from_port=number)
        push(queue, number, 100, flow=0, from_port=number)
    taken(queue, 1 << 20)
    [left] = queue._ingresses.values()
    assert left.flows == [None] * 256


# Fairness between ingresses


@pytest.mark.parametrize("flows", [1, 2, 256])
@pytest.mark.parametrize("size", [120, 1400, 60_000])
def test_two_ingresses_share_evenly_whatever_their_flows(queue: PeerQueue, flows: int, size: int) -> None:
    sizes, waiting, sent = {1: 1400, 2: size}, Counter({1: 0, 2: 0}), Counter[int]()
    turns = count()
    for _ in range(600):
        while waiting[1] < PEERING_LIMIT // 4:
            push(queue, 1, sizes[1], flow=7, from_port=1)
            waiting[1] += sizes[1]
        while waiting[2] < PEERING_LIMIT // 4:
            push(queue, 2, sizes[2], flow=next(turns) % flows, from_port=2)
            waiting[2] += sizes[2]
        stream, at = taken(queue, 16_384), 0
        while at < len(stream):
            label = int.from_bytes(stream[at : at + 2])
            at += sizes[label]
            sent[label] += sizes[label]
            waiting[label] -= sizes[label]
    assert abs(sent[1] - sent[2]) <= 2 * 60_000 + 2 * QUANTUM


def test_an_attacker_cannot_fill_the_flows_of_another_ingress(queue: PeerQueue) -> None:
    """The line takes 14 kB a step; the honest peer offers a fifth of it, the attacker ten times as much."""
    rng, honest = Random(1), 0
    for _ in range(1000):
        for _ in range(2):
            push(queue, 0xAAAA, 1400, flow=7, from_port=1)
        for _ in range(100):
            push(queue, 0xBBBB, 1400, flow=rng.randrange(256), from_port=2)
        honest += labels(queue, 1400, 14_000).count(0xAAAA)
    assert honest == 2000


def test_a_ping_from_another_ingress_passes_a_bulk_transfer(queue: PeerQueue) -> None:
    for label in range(16):
        push(queue, label, 60_000, flow=label, from_port=1)
    assert labels(queue, 60_000, 1) == [0]
    push(queue, 99, 100, from_port=2)
    assert taken(queue, 60_000) == frame(99, 100)
    assert labels(queue, 60_000, 1) == [1]


def test_a_ping_from_the_ingress_served_last_passes_a_bulk_transfer(queue: PeerQueue) -> None:
    push(queue, 1, 100, from_port=2)
    taken(queue, 1 << 20)
    push(queue, 98, 100, from_port=2)
    for label in range(16):
        push(queue, label, 60_000, from_port=1)
    assert taken(queue, 60_000) == frame(98, 100)
    assert labels(queue, 60_000, 1) == [0]


def test_an_ingress_that_is_empty_now_and_then_does_not_starve_the_others(queue: PeerQueue) -> None:
    for label in range(100):
        push(queue, label, 1000, from_port=1)
    sent: Counter[int] = Counter()
    for _ in range(100):
        push(queue, 7777, 1001, from_port=2)
        sent[len(taken(queue, 1))] += 1
    assert sent[1000] >= 40


# Buffers


def test_small_pieces_are_joined_and_large_ones_are_not_copied(queue: PeerQueue) -> None:
    large = bytes(JOIN_LIMIT)
    pushed: list[Frame] = [(b"h1", b"p1"), b"f2", (b"h3", large), large, (b"h5", large, b"t5"), b"f6"]
    for item in pushed:
        size = sum(map(len, item)) if isinstance(item, tuple) else len(item)
        queue.push_traffic(item, size, 0, 0)
    buffers = queue.take(1 << 20)
    assert buffers == [b"h1p1f2h3", large, large, b"h5", large, b"t5f6"]
    assert all(buffers[at] is large for at in (1, 2, 4))


def test_no_more_buffers_than_one_system_call_takes(queue: PeerQueue) -> None:
    for label in range(400):
        queue.push_traffic((b"head", bytes(JOIN_LIMIT)), JOIN_LIMIT + 4, label, 0)
    buffers = queue.take(1 << 20)
    assert len(buffers) == MAX_BUFFERS
    assert len(queue.take(1 << 20)) == 2 * 400 - MAX_BUFFERS


# Who makes room


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


def test_the_longest_ingress_makes_room_though_a_flow_of_another_is_longer(
    queues: Queues, queue: PeerQueue
) -> None:
    for label in range(400):
        push(queue, 1000 + label, 1024, flow=1, from_port=1)
    for label in range(624):
        push(queue, 2000 + label, 1024, flow=label, from_port=2)
    assert queue.traffic_size == PEERING_LIMIT
    for label in range(10):
        push(queue, 1400 + label, 1024, flow=1, from_port=1)
    assert queues.counters.drops_at(1) == {"queue_full": 10}
    left = labels(queue, 1024)
    assert [label for label in left if label < 2000] == list(range(1000, 1410))


def test_the_longest_ingress_is_found_when_none_holds_most(queues: Queues, queue: PeerQueue) -> None:
    for port, frames in ((1, 300), (2, 400), (3, 324)):
        for label in range(frames):
            push(queue, 1000 * port + label, 1024, flow=label, from_port=port)
    for label in range(10):
        push(queue, 1300 + label, 1024, from_port=1)
    assert queues.counters.drops_at(1) == {"queue_full": 10}
    assert sum(2000 <= label < 3000 for label in labels(queue, 1024)) == 390
