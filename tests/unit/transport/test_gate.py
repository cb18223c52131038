# SPDX-License-Identifier: Apache-2.0
"""The bounds on inbound streams, with a clock of our own."""

import pytest

from pineconed.router.events import LinkDown, LinkUp, NodeSeen
from pineconed.transport import gate as gate_module
from pineconed.transport.gate import AcceptGate, AcceptLimits, Refusal, source_of

KEY = bytes(32)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def come_in(gate: AcceptGate, link: int, host: str) -> bool:
    visit = gate.admit(host)
    if visit is not None:
        visit.opened(link)
    return visit is not None


def up(link: int) -> LinkUp:
    return LinkUp(link, 1, KEY)


def down(link: int) -> LinkDown:
    return LinkDown(link, 1, KEY, "gone")


def test_half_open_streams_of_one_source_are_bounded_until_they_shake_hands() -> None:
    gate = AcceptGate(Clock(), AcceptLimits(half_open_per_source=2))
    assert [come_in(gate, link, "192.0.2.1") for link in (1, 2, 3)] == [True, True, False]
    assert come_in(gate, 4, "192.0.2.2")
    gate.handle_event(up(1))
    assert come_in(gate, 5, "192.0.2.1")
    assert gate.half_open == 3
    gate.handle_event(down(5))
    assert come_in(gate, 6, "192.0.2.1")
    assert gate.refusals == {**dict.fromkeys(Refusal, 0), Refusal.HALF_OPEN_SOURCE: 1}
    assert gate.accepted == 5


def test_half_open_streams_are_bounded_in_all() -> None:
    gate = AcceptGate(Clock(), AcceptLimits(half_open=3))
    assert [come_in(gate, link, f"192.0.2.{link}") for link in range(1, 5)] == [True, True, True, False]
    gate.handle_event(down(2))
    assert come_in(gate, 5, "192.0.2.5")
    assert gate.refusals[Refusal.HALF_OPEN] == 1


def test_sources_that_hold_every_handshake_give_way_to_others() -> None:
    clock, closed = Clock(), list[int]()
    gate = AcceptGate(clock, AcceptLimits(half_open=4), give_way=closed.append)
    for link in range(4):
        assert come_in(gate, link, f"192.0.2.{link // 3}")
    assert come_in(gate, 4, "192.0.2.2")
    assert closed == [0]
    gate.handle_event(down(0))
    assert come_in(gate, 5, "192.0.2.2") is come_in(gate, 6, "192.0.2.0") is False
    assert gate.half_open == 4
    clock.now += 1.9
    assert not come_in(gate, 7, "192.0.2.2")
    clock.now += 0.1
    assert come_in(gate, 8, "192.0.2.2")
    assert closed == [0, 1]
    gate.handle_event(up(2))
    for link in (1, 2, 3, 4, 8):
        gate.handle_event(down(link))
    assert gate.half_open == 0
    assert not any(source.links or source.half_open for source in gate._sources.values())


def test_those_of_one_source_that_dawdle_give_way_to_others_of_it() -> None:
    """Everybody who comes by a Unix socket, or through a web server or NAT, is one source."""
    clock, closed = Clock(), list[int]()
    gate = AcceptGate(clock, AcceptLimits(half_open_per_source=2), give_way=closed.append)
    assert [come_in(gate, link, "192.0.2.1") for link in range(3)] == [True, True, False]
    assert come_in(gate, 3, "192.0.2.2")
    clock.now += 1.9
    assert not come_in(gate, 4, "192.0.2.1")
    clock.now += 0.1
    assert [come_in(gate, link, "192.0.2.1") for link in range(5, 8)] == [True, True, False]
    assert closed == [0, 1]
    assert gate.half_open == 3
    for link in (0, 1, 3, 5, 6):
        gate.handle_event(down(link))
    assert gate.half_open == 0
    assert not any(source.links or source.half_open for source in gate._sources.values())


def test_nobody_gives_way_to_one_that_comes_too_fast() -> None:
    clock, closed = Clock(), list[int]()
    limits = AcceptLimits(half_open_per_source=2, accepts_per_second=0.1, accepts_burst=2)
    gate = AcceptGate(clock, limits, give_way=closed.append)
    assert [come_in(gate, link, "192.0.2.1") for link in range(2)] == [True, True]
    clock.now += 3
    assert not come_in(gate, 2, "192.0.2.1")
    assert closed == []
    assert gate.refusals[Refusal.RATE_SOURCE] == 1


def test_a_stream_is_half_open_from_its_accept_on_until_its_visit_ends() -> None:
    gate = AcceptGate(Clock(), AcceptLimits(half_open_per_source=2, links_per_source=3))
    first, second = gate.admit("192.0.2.1"), gate.admit("192.0.2.1")
    assert first is not None
    assert second is not None
    assert gate.admit("192.0.2.1") is None
    first.closed()
    first.closed()
    assert gate.half_open == 1
    assert come_in(gate, 1, "192.0.2.1")
    second.opened(2)
    second.closed()  # too late to matter: its link tells the rest
    assert gate.half_open == 2
    for link in (1, 2):
        gate.handle_event(up(link))
        gate.handle_event(down(link))
    assert gate.half_open == 0
    assert not any(source.links or source.half_open for source in gate._sources.values())


def test_a_visit_without_a_link_gives_way_too() -> None:
    clock, closed = Clock(), list[str]()
    gate = AcceptGate(clock, AcceptLimits(half_open=1))
    visit = gate.admit("192.0.2.1")
    assert visit is not None
    visit.give_way = lambda: closed.append("visit")
    clock.now += 3
    assert come_in(gate, 2, "192.0.2.2")
    assert closed == ["visit"]
    assert gate.half_open == 1
    visit.closed()
    gate.handle_event(down(2))
    assert not any(source.links or source.half_open for source in gate._sources.values())


def test_all_streams_of_one_source_are_bounded() -> None:
    gate = AcceptGate(Clock(), AcceptLimits(links_per_source=3))
    for link in range(1, 4):
        assert come_in(gate, link, "192.0.2.1")
        gate.handle_event(up(link))
    assert not come_in(gate, 4, "192.0.2.1")
    assert gate.refusals[Refusal.LINKS_SOURCE] == 1
    gate.handle_event(down(2))
    assert come_in(gate, 5, "192.0.2.1")


def test_accepts_of_one_source_have_a_rate_and_a_burst() -> None:
    clock = Clock()
    gate = AcceptGate(clock, AcceptLimits(accepts_per_second=2, accepts_burst=3))
    for link in range(1, 6):
        assert come_in(gate, link, "192.0.2.1") is (link <= 3)
        gate.handle_event(down(link))
    clock.now += 0.5
    assert come_in(gate, 6, "192.0.2.1")
    assert not come_in(gate, 7, "192.0.2.1")
    clock.now += 1000
    assert [come_in(gate, link, "192.0.2.1") for link in range(8, 12)] == [True, True, True, False]
    assert gate.refusals[Refusal.RATE_SOURCE] == 4


def test_accepts_of_everybody_have_a_rate_and_a_burst() -> None:
    clock, told = Clock(), list[float]()
    limits = AcceptLimits(total_accepts_per_second=4, total_accepts_burst=3)
    gate = AcceptGate(clock, limits, crowded=lambda: told.append(clock.now))
    for number in range(3):
        assert gate.reserve() == 0
        assert gate.admit(f"2001:db8:0:{number}::1")
    assert gate.reserve() == pytest.approx(0.25)
    clock.now += 0.125
    assert gate.reserve() == pytest.approx(0.125)
    assert gate.waits == 2
    assert told == [100.0, 100.125]
    clock.now += 0.125
    assert gate.reserve() == 0


def test_turns_without_a_stream_take_nothing_of_the_rate_and_refused_streams_little() -> None:
    limits = AcceptLimits(links_per_source=0, total_accepts_per_second=1, total_accepts_burst=2)
    gate = AcceptGate(Clock(), limits)
    for _ in range(100):
        assert gate.reserve() == 0
        gate.release()
    for _ in range(10):
        assert gate.reserve() == 0
        assert not gate.admit("192.0.2.1")
    assert gate.reserve() == 0
    assert gate.reserve() == pytest.approx(1)


def test_whoever_asked_is_told_of_refusals() -> None:
    told: list[tuple[Refusal, str]] = []
    gate = AcceptGate(Clock(), AcceptLimits(links_per_source=0), lambda *refusal: told.append(refusal))
    assert not gate.admit(source_of("2001:db8:1:2:3::4"))
    assert told == [(Refusal.LINKS_SOURCE, "2001:db8:1:2::/64")]


def test_other_links_and_events_do_not_matter() -> None:
    gate = AcceptGate(Clock())
    for event in (up(7), down(7), NodeSeen(KEY)):
        gate.handle_event(event)
    assert gate.half_open == 0


def test_sources_without_streams_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_REMEMBERED", 4)
    gate = AcceptGate(Clock())
    assert come_in(gate, 1, "192.0.2.1")
    for number in range(2, 100):
        visit = gate.admit(f"192.0.2.{number}")
        assert visit is not None
        visit.closed()
    assert len(gate._sources) <= 4
    gate.handle_event(down(1))


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_a_source_is_an_ipv4_address_or_a_64_prefix(host: str, source: str) -> None:
    assert source_of(host) == source
