# SPDX-License-Identifier: Apache-2.0
"""The virtual clock: a heap of events that runs as fast as the machine allows.

Events at the same instant run in the order in which they were scheduled, so that a run depends on its seed
alone and never on addresses, hashes or the wall clock.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

MAX_EVENTS_AT_ONE_INSTANT = 200_000
"""More events than this at one virtual instant mean that a node re-arms a timer which is already due."""


class SimulationError(RuntimeError):
    """The simulated network did something that no correct network does, such as stopping the clock."""


class Alarm:
    """One scheduled event, which can be cancelled until it has run."""

    __slots__ = ("_action", "_arguments", "when")

    def __init__(self, when: float, action: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self._action: Callable[..., object] | None = action
        self._arguments = arguments

    def cancel(self) -> None:
        """Make the event do nothing; harmless when it has run already."""
        self._action = None

    def ring(self) -> bool:
        """Run the event and tell whether there was one to run."""
        action, self._action = self._action, None
        if action is None:
            return False
        action(*self._arguments)
        return True


class VirtualClock:
    """Virtual seconds since an arbitrary start, and the events that are to happen.

    `start` is the first reading: not zero, so that a node that takes zero for "never" is found out.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self._heap: list[tuple[float, int, Alarm]] = []
        self._serial = count()
        self._at_this_instant = 0

    def at(self, when: float, action: Callable[..., object], *arguments: Any) -> Alarm:
        """Schedule `action(*arguments)` for the virtual time `when`, or for now if that has passed."""
        alarm = Alarm(max(when, self.now), action, arguments)
        heappush(self._heap, (alarm.when, next(self._serial), alarm))
        return alarm

    def after(self, delay: float, action: Callable[..., object], *arguments: Any) -> Alarm:
        """Schedule `action(*arguments)` for `delay` virtual seconds from now."""
        return self.at(self.now + delay, action, *arguments)

    def next_time(self) -> float | None:
        """The virtual time of the next event, None when there is none."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Advance to the next event and run it; IndexError when there is none."""
        when, _, alarm = heappop(self._heap)
        self._count(when)
        self.now = when
        alarm.ring()

    def run_until(self, when: float) -> None:
        """Run all events up to and including the virtual time `when` and end there."""
        heap = self._heap
        while heap and heap[0][0] <= when:
            self.step()
        self.now = max(self.now, when)

    def run_for(self, seconds: float) -> None:
        """Run all events of the next `seconds` virtual seconds."""
        self.run_until(self.now + seconds)

    def _count(self, when: float) -> None:
        if when > self.now:
            self._at_this_instant = 0
        self._at_this_instant += 1
        if self._at_this_instant > MAX_EVENTS_AT_ONE_INSTANT:
            raise SimulationError(f"the virtual clock is stuck at {when}: a timer is re-armed for the past")
