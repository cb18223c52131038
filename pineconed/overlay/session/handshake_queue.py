# SPDX-License-Identifier: Apache-2.0
"""Which of the messages that cost us a computation are read, when more come than the budget allows.

A genuine message 1 cannot be told from one that a hostile node on the way invents in its name, but it comes
again and again, the same bytes. So what has come most often goes first: whoever wants to be before it must
send as often as it does, for every one that is read. Within a port nothing else counts, not even the key.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from pineconed.clock import NEVER
from pineconed.overlay.session.port_budget import PortBudget

MAX_WAITING = 32
"""Messages that wait at a port; the one that has come least often makes room."""

MAX_REMEMBERED = 8192
"""Messages of all ports whose number of times is remembered, and as many again of the time before."""

MEMORY = 8.0
"""Seconds, at times twice of it, for which that is remembered: as long as an attempt lasts."""

_T = TypeVar("_T")


class _Waiting(Generic[_T]):
    __slots__ = ("item", "name", "times")

    def __init__(self, name: int, item: _T, times: int) -> None:
        self.name = name
        self.item = item
        self.times = times


class _Port(Generic[_T]):
    """What came by one port: a few messages that wait, and how often others have come.

    None that waits has come less than `least` times. The budget is not asked again before `ready_at`.
    """

    __slots__ = ("before", "counted", "least", "ready_at", "turned_at", "waiting")

    def __init__(self, now: float) -> None:
        self.waiting: dict[int, _Waiting[_T]] = {}
        self.least = self.ready_at = 0.0
        self.counted: dict[int, int] = {}
        self.before: dict[int, int] = {}
        self.turned_at = now

    def count(self, name: int, limit: int, now: float) -> int:
        """How often a message has come, this time included."""
        if len(self.counted) >= limit or now - self.turned_at >= MEMORY:
            stale = now - self.turned_at >= 2 * MEMORY
            self.before, self.counted, self.turned_at = {} if stale else self.counted, {}, now
        times = self.counted.get(name) or self.before.pop(name, 0)
        self.counted[name] = times + 1
        return times + 1

    def forget(self, name: int) -> None:
        """Count a message from the beginning: it was read."""
        self.counted.pop(name, None)
        self.before.pop(name, None)


class HandshakeQueue(Generic[_T]):
    """A budget by port, and the messages that wait for it. Times are in seconds."""

    def __init__(self, budget: PortBudget) -> None:
        self._budget = budget
        self._ports: dict[int, _Port[_T]] = {}
        self._crowded: dict[int, None] = {}

    def offer(self, port: int, name: Hashable, item: _T, now: float) -> _T | None:
        """A message came by `port`; all that tells it from others is in `name`, whose hash none can foretell.

        What has to go for it, this one or another: dropped. `admitted` says which are to be read.
        """
        at = self._ports.get(port)
        if at is None:
            self._forget_quiet(now)
            at = self._ports[port] = _Port(now)
        digest = hash(name)
        times = at.count(digest, MAX_REMEMBERED // len(self._ports), now)
        waiting = at.waiting
        if digest in waiting:
            waiting[digest].times = times
            return item
        dropped = None
        if len(waiting) < MAX_WAITING:
            at.least = min(at.least, times)
        elif times <= at.least:
            return item
        else:
            weakest = min(reversed(waiting.values()), key=_times)
            at.least = weakest.times
            if times <= weakest.times:
                return item
            dropped = waiting.pop(weakest.name).item
        waiting[digest] = _Waiting(digest, item, times)
        self._crowded[port] = None
        return dropped

    def admitted(self, now: float, only: int | None = None) -> Iterator[tuple[_T, bool]]:
        """What is to be read now, and whether it has come more than once; by `only` one port if given."""
        for port in list(self._crowded) if only is None else [only]:
            at = self._ports[port]
            waiting = at.waiting
            while waiting and now >= at.ready_at:
                if not self._budget.allow(port, now):
                    at.ready_at = self._budget.ready_at(port)
                    break
                chosen = max(waiting.values(), key=_times)
                del waiting[chosen.name]
                at.forget(chosen.name)
                yield chosen.item, chosen.times > 1
            if not waiting:
                self._crowded.pop(port, None)

    def deadline(self) -> float:
        """When something is admitted; infinity if nothing waits."""
        return min(map(self._budget.ready_at, self._crowded)) if self._crowded else NEVER

    def _forget_quiet(self, now: float) -> None:
        for port, at in list(self._ports.items()):
            if not at.waiting and now - at.turned_at >= 2 * MEMORY:
                del self._ports[port]


def _times(waiting: _Waiting[_T]) -> int:
    return waiting.times
