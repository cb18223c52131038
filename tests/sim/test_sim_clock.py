# SPDX-License-Identifier: Apache-2.0
"""The virtual clock: exact times, the order of simultaneous events, and a stuck clock."""

import pytest

from pineconed.sim.clock import SimulationError, VirtualClock


def test_events_run_at_their_time_and_in_the_order_of_scheduling() -> None:
    clock, ran = VirtualClock(100.0), list[tuple[str, float]]()
    for name, delay in (("c", 2.0), ("a", 1.0), ("b", 1.0)):
        clock.after(delay, lambda name=name: ran.append((name, clock.now)))
    clock.run_for(2.0)
    assert ran == [("a", 101.0), ("b", 101.0), ("c", 102.0)]
    assert clock.now == 102.0


def test_running_ends_at_the_given_time_without_later_events() -> None:
    clock, ran = VirtualClock(), list[float]()
    clock.after(5.0, lambda: ran.append(clock.now))
    clock.run_for(4.0)
    assert (ran, clock.now, clock.next_time()) == ([], 1004.0, 1005.0)


def test_an_event_may_schedule_another_at_the_same_instant() -> None:
    clock, ran = VirtualClock(), list[str]()
    clock.after(1.0, lambda: clock.after(0.0, ran.append, "second"))
    clock.after(1.0, ran.append, "first")
    clock.run_for(1.0)
    assert ran == ["first", "second"]


def test_a_cancelled_event_does_not_run() -> None:
    clock, ran = VirtualClock(), list[str]()
    alarm = clock.after(1.0, ran.append, "never")
    alarm.cancel()
    clock.run_for(2.0)
    assert ran == []


def test_an_event_in_the_past_runs_now() -> None:
    clock, ran = VirtualClock(50.0), list[float]()
    clock.at(1.0, lambda: ran.append(clock.now))
    clock.run_for(0.0)
    assert ran == [50.0]


def test_a_timer_that_is_always_due_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pineconed.sim.clock.MAX_EVENTS_AT_ONE_INSTANT", 1000)
    clock = VirtualClock()

    def again() -> None:
        clock.at(clock.now, again)

    again()
    with pytest.raises(SimulationError, match="stuck"):
        clock.run_for(1.0)
