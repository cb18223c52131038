# SPDX-License-Identifier: Apache-2.0
"""Timers, budgets, what is known of peers, what waits: the bounded tables by themselves."""

from collections import deque
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.clock import NEVER
from pineconed.overlay.session.handshake_queue import MAX_REMEMBERED, MAX_WAITING, HandshakeQueue
from pineconed.overlay.session.indices import Indices
from pineconed.overlay.session.known_peers import MAX_KNOWN, KnownPeers, usable_coords
from pineconed.overlay.session.port_budget import PortBudget
from pineconed.overlay.session.session import Session
from pineconed.overlay.session.super_packet import SuperKind, SuperPacket
from pineconed.overlay.session.timers import Timers
from pineconed.overlay.session.waiting import WaitingPackets, WaitingTotal
from pineconed.wire.coordinates import encode_coords

KEY = bytes(range(32))


@dataclass(eq=False)
class Item:
    timer_at: float = NEVER


# Timers


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100) | st.just(NEVER)), max_size=400))
def test_the_deadline_is_that_of_the_earliest(steps: list[tuple[int, float]]) -> None:
    timers: Timers[Item] = Timers()
    items = [Item() for _ in range(6)]
    for number, when in steps:
        timers.arm(items[number], when)
        assert timers.deadline() == min(item.timer_at for item in items)
    assert len(timers._heap) <= 6 * 2 + 64 + 1
    expected = sorted(item.timer_at for item in items if item.timer_at <= 50)
    assert len(list(timers.due(50))) == len(expected)
    assert timers.deadline() == min(item.timer_at for item in items)


def test_items_come_in_order_and_may_be_armed_again_meanwhile() -> None:
    timers: Timers[Item] = Timers()
    first, second = Item(), Item()
    timers.arm(second, 2.0)
    timers.arm(first, 1.0)
    out = []
    for item in timers.due(3.0):
        out.append(item)
        if len(out) < 3:
            timers.arm(item, 2.5)
    assert out == [first, second, first, second]
    assert timers.deadline() == NEVER


# Budget by port


def _granted(budget: PortBudget, port: int, now: float, number: int) -> int:
    return sum(budget.allow(port, now) for _ in range(number))


def test_one_port_may_have_it_all() -> None:
    budget = PortBudget(200)
    assert _granted(budget, 1, 10.0, 1000) == 200
    assert _granted(budget, 1, 10.5, 1000) == 100
    assert sum(_granted(budget, 1, 11 + i / 100, 200) for i in range(100)) == pytest.approx(200 + 99, abs=2)


def test_ports_share_evenly() -> None:
    budget = PortBudget(200)
    _granted(budget, 1, 10.0, 1000)
    assert _granted(budget, 2, 10.0, 1000) == 100
    granted = {1: 0, 2: 0}
    for step in range(1, 101):
        for port in granted:
            granted[port] += _granted(budget, port, 10 + step / 100, 50)
    assert granted[1] == pytest.approx(100, abs=2)
    assert granted[2] == pytest.approx(100, abs=2)


def test_a_flood_by_one_port_leaves_another_its_share() -> None:
    budget = PortBudget(200)
    for step in range(1000):
        _granted(budget, 1, 10 + step / 100, 50)
        if step % 10 == 9:
            assert budget.allow(2, 10 + step / 100)


def test_quiet_ports_are_forgotten() -> None:
    budget = PortBudget(200)
    for port in range(1, 101):
        budget.allow(port, 10.0)
    assert _granted(budget, 1, 10.0, 10) < 10
    assert budget.allow(200, 12.0)
    assert _granted(budget, 200, 13.0, 1000) == 200


# Known peers


def test_coords_are_fresh_for_a_minute() -> None:
    known = KnownPeers()
    assert known.key_of(KEY[:15]) is None
    assert known.coords(KEY[:15], 0.0) is None
    known.learn(KEY, encode_coords((1, 2)), 100.0)
    assert known.key_of(KEY[:15]) == KEY
    assert known.coords(KEY[:15], 159.9) == (1, 2)
    assert known.coords(KEY[:15], 160.0) is None
    known.learn(KEY, encode_coords((1, 2)), 160.0)
    assert known.coords(KEY[:15], 219.9) == (1, 2)


def test_empty_coords_clear() -> None:
    known = KnownPeers()
    known.learn(KEY, encode_coords((1, 2)), 100.0)
    known.learn(KEY, encode_coords(()), 101.0)
    assert known.coords(KEY[:15], 101.0) is None
    assert known.key_of(KEY[:15]) == KEY


def test_forgotten_coords_can_be_learned_again() -> None:
    known = KnownPeers()
    known.forget_coords(KEY[:15])
    known.learn(KEY, encode_coords((1, 2)), 100.0)
    known.forget_all_coords()
    assert known.coords(KEY[:15], 100.0) is None
    known.learn(KEY, encode_coords((1, 2)), 101.0)
    assert known.coords(KEY[:15], 101.0) == (1, 2)


def test_the_number_of_peers_is_bounded() -> None:
    known, rng = KnownPeers(), Random(1)
    known.learn(KEY, encode_coords((1,)), 1.0)
    for _ in range(MAX_KNOWN - 1):
        known.learn(rng.randbytes(32), encode_coords((1,)), 1.0)
    assert known.key_of(KEY[:15]) == KEY
    known.learn(rng.randbytes(32), encode_coords((1,)), 1.0)
    assert known.key_of(KEY[:15]) is None
    assert len(known._peers) == MAX_KNOWN


@pytest.mark.parametrize(
    ("encoded", "coords"),
    [
        (b"", None),
        (b"\x00\x00", None),
        (b"\x00\x02\x01\x02", (1, 2)),
        (b"\x00\x01\x80", None),
        (encode_coords((1,) * 1024), (1,) * 1024),
        (encode_coords((1,) * 1025), None),
    ],
)
def test_coords_that_can_be_sent_to(encoded: bytes, coords: tuple[int, ...] | None) -> None:
    assert usable_coords(encoded) == coords


# Waiting packets


def test_at_most_64_packets_wait() -> None:
    total = WaitingTotal()
    waiting = WaitingPackets(total)
    packets = [bytes([n]) * 10 for n in range(65)]
    assert [waiting.add(packet) for packet in packets] == [True] * 64 + [False]
    assert total.used == 640
    assert waiting.first() == packets[0]
    waiting.drop_first()
    assert waiting.take() == packets[1:64]
    assert total.used == 0
    assert waiting.first() is None


def test_at_most_256_kib_wait() -> None:
    waiting = WaitingPackets(WaitingTotal())
    big = SuperPacket(SuperKind.TCP, 1000, 60, bytes(60_000))
    assert [waiting.add(big) for _ in range(5)] == [True] * 4 + [False]
    assert waiting.add(bytes((256 << 10) - 240_000))
    assert not waiting.add(b"1")


def test_all_that_waits_is_bounded() -> None:
    total = WaitingTotal(100)
    one, other = WaitingPackets(total), WaitingPackets(total)
    assert one.add(bytes(60))
    assert not other.add(bytes(41))
    assert other.add(bytes(40))
    one.take()
    assert other.add(bytes(60))
    assert total.used == 100


# Indices


def test_an_index_is_drawn_until_it_is_free() -> None:
    drawn = iter([b"aaaa", b"aaaa", b"bbbb"])
    indices = Indices(lambda _: next(drawn))
    first = indices.draw()
    owner = object.__new__(Session)
    owner.index = first
    indices.owners[first] = owner
    assert indices.draw() == int.from_bytes(b"bbbb")
    stranger = object.__new__(Session)
    stranger.index = first
    indices.release(stranger)
    assert indices.owners == {first: owner}
    indices.release(owner)
    assert not indices.owners


def test_times_that_were_put_off_do_not_pile_up() -> None:
    timers: Timers[Item] = Timers()
    items = [Item() for _ in range(10)]
    for step in range(1000):
        timers.arm(items[step % 10], 1000.0 - step / 2)
    assert len(timers._heap) <= 84
    assert timers.deadline() == 1000 - 999 / 2


# Handshakes that wait


def _names(queue: HandshakeQueue[bytes], now: float) -> list[bytes]:
    return [name for name, _ in queue.admitted(now)]


def test_whatever_comes_is_admitted_at_once_while_the_budget_lasts() -> None:
    queue: HandshakeQueue[bytes] = HandshakeQueue(PortBudget(200))
    for number in range(200):
        name = number.to_bytes(2)
        assert queue.offer(1, name, name, 10.0) is None
        assert _names(queue, 10.0) == [name]
    assert queue.offer(1, b"late", b"late", 10.0) is None
    assert _names(queue, 10.0) == []
    assert queue.deadline() == pytest.approx(10.005)
    assert _names(queue, queue.deadline()) == [b"late"]
    assert queue.deadline() == NEVER


def test_what_has_come_most_often_is_admitted_first_then_what_came_first() -> None:
    queue: HandshakeQueue[bytes] = HandshakeQueue(PortBudget(2))
    for name in (b"a", b"b"):
        queue.offer(1, name, name, 10.0)
    assert _names(queue, 10.0) == [b"a", b"b"]
    gone = [queue.offer(1, name, name, 10.0) for name in (b"c", b"d", b"e", b"d")]
    assert gone == [None, None, None, b"d"], "a copy of what waits is dropped"
    assert list(queue.admitted(10.5)) == [(b"d", True)]
    assert list(queue.admitted(11.0)) == [(b"c", False)]
    assert list(queue.admitted(11.5)) == [(b"e", False)]


def test_few_wait_and_the_one_that_came_least_often_makes_room() -> None:
    queue: HandshakeQueue[bytes] = HandshakeQueue(PortBudget(1))
    queue.offer(1, b"", b"", 10.0)
    assert _names(queue, 10.0) == [b""]
    for number in range(MAX_WAITING):
        assert queue.offer(1, bytes([number]), bytes([number]), 10.0) is None
    assert queue.offer(1, b"new", b"new", 10.0) == b"new"
    assert queue.offer(1, b"new", b"new", 10.5) == bytes([MAX_WAITING - 1])
    assert _names(queue, 11.0) == [b"new"]


def test_what_is_remembered_of_a_flood_is_bounded() -> None:
    queue: HandshakeQueue[int] = HandshakeQueue(PortBudget(200))
    for port in (1, 2, 3):
        for number in range(4 * MAX_REMEMBERED // port):
            queue.offer(port, number.to_bytes(4), number, 10.0)
    assert sum(len(at.counted) for at in queue._ports.values()) <= MAX_REMEMBERED * 2
    assert sum(len(at.waiting) for at in queue._ports.values()) == 3 * MAX_WAITING
    queue.offer(4, b"", 0, 12.0)
    for _ in range(400):
        list(queue.admitted(queue.deadline()) if queue.deadline() < NEVER else ())
    queue.offer(5, b"", 0, 50.0)
    assert list(queue._ports) == [5]


@pytest.mark.parametrize("together", [1, 50, 100, 200, 400, 800, 1600])
@pytest.mark.parametrize("lead", [0.0, 4.0, 20.0])
def test_no_way_to_send_a_thousand_a_second_keeps_an_attempt_out(together: int, lead: float) -> None:
    """The attacker sees what was read, and goes on only with the others, so many of them in turn."""
    queue: HandshakeQueue[int] = HandshakeQueue(PortBudget(200))
    mine: deque[int] = deque(range(together))
    serial, now, begun_at = together, 10.0, 10.0 + lead
    genuine = -1
    while now < begun_at + 7.5:
        if now >= begun_at and (now - begun_at) % 0.5 < 0.001:
            queue.offer(1, b"genuine", genuine, now)
        mine.append(mine.popleft())
        queue.offer(1, mine[-1].to_bytes(4), mine[-1], now)
        for read, _ in queue.admitted(now):
            if read == genuine:
                print(f"read after {now - begun_at:.2f} s against {together} at a time, {lead} s before")
                return
            mine.remove(read)
            mine.append(serial)
            serial += 1
        now = round(now + 0.001, 6)
    pytest.fail("never read")


def test_hundreds_of_ports_have_their_share_too() -> None:
    budget = PortBudget(200)
    for port in range(250):
        budget.allow(port, 10.0)
    granted = 0
    for step in range(1, 41):
        granted += sum(budget.allow(port, 10 + step / 10) for port in range(250))
    assert 600 <= granted <= 200 * 4 + 250


def test_coords_of_a_message_that_may_have_been_held_back() -> None:
    known = KnownPeers()
    known.learn_late(KEY, encode_coords((1,)), 90.0, 100.0)
    assert known.coords(KEY[:15], 100.0) == (1,)
    known.learn_late(KEY, encode_coords((2,)), 101.0, 102.0)
    assert known.coords(KEY[:15], 102.0) == (2,)
    known.learn_late(KEY, encode_coords((2,)), 101.0, 103.0)
    assert known.coords(KEY[:15], 103.0) == (2,)
    known.learn_late(KEY, encode_coords((1,)), 101.0, 104.0)
    assert known.coords(KEY[:15], 104.0) is None
    assert known.key_of(KEY[:15]) == KEY
    known.learn_late(KEY, encode_coords((3,)), 101.0, 105.0)
    assert known.coords(KEY[:15], 105.0) == (3,)
