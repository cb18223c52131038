# SPDX-License-Identifier: Apache-2.0
"""When something is due: one heap for everything that has a time."""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar

from pineconed.clock import NEVER


class Timed(Protocol):
    """Something with one time at which it is due, in seconds; infinity when it is not armed."""

    timer_at: float


_T = TypeVar("_T", bound=Timed)

_SLACK = 64
"""Times that were put off and may stay in the heap, beside as many as there are others."""


class Timers(Generic[_T]):
    """The heap. An entry whose time is no longer that of its item is skipped."""

    __slots__ = ("_armed", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _T]] = []
        self._serial = count()
        self._armed = 0

    def arm(self, item: _T, when: float) -> None:
        """Have `item` due at `when`, and at no other time; infinity disarms it."""
        if item.timer_at == when:
            return
        self._armed += (when != NEVER) - (item.timer_at != NEVER)
        item.timer_at = when
        if when != NEVER:
            heapq.heappush(self._heap, (when, next(self._serial), item))
        if len(self._heap) > 2 * self._armed + _SLACK:
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].timer_at]
            heapq.heapify(self._heap)

    def deadline(self) -> float:
        """When the first item is due; infinity if there is none."""
        heap = self._heap
        while heap and heap[0][0] != heap[0][2].timer_at:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def due(self, now: float) -> Iterator[_T]:
        """The items that are due, in the order of their times; each is disarmed as it comes out."""
        while self.deadline() <= now:
            _, _, item = self._heap[0]
            self.arm(item, NEVER)
            yield item
