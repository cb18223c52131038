# SPDX-License-Identifier: Apache-2.0
"""The links of a node: which there are, when each is due, how many frames a turn of one handles."""

import heapq
from collections.abc import Iterator

from pineconed.clock import NEVER
from pineconed.node.link import Link
from pineconed.peering.peering import Peering
from pineconed.router.peer import LinkOptions

FRAMES_A_ROUND = 1024
"""Frames that busy links share before each of them has had its turn, so that many do not hold up the rest."""

MAX_FRAMES_A_TURN = 256
"""Frames that one `receive` handles at the most before it lets the others have their turn."""

MIN_FRAMES_A_TURN = 8
"""Frames that one `receive` handles however many links are busy; a link that needs no more is not busy."""


class LinkTable:
    """Links by their numbers, which are never used again, and those with a port by that.

    `greetings` holds those whose handshake was not sent yet.
    """

    def __init__(self) -> None:
        self.by_number: dict[int, Link] = {}
        self.by_port: dict[int, Link] = {}
        self.greetings: dict[int, Link] = {}
        self.frames_a_turn = MAX_FRAMES_A_TURN
        self._last_number = 0
        self._timers: list[tuple[float, int]] = []
        self._busy = 0

    def open(self, options: LinkOptions, greeting: bytes, now: float) -> Link:
        """A new link, to be greeted; `now` in seconds."""
        self._last_number += 1
        link = Link(self._last_number, options, Peering(now, options.spent), greeting, opened_at=now)
        self.by_number[link.number] = self.greetings[link.number] = link
        self.arm(link)
        return link

    def remove(self, link: Link) -> None:
        """Forget a link."""
        del self.by_number[link.number]
        self.greetings.pop(link.number, None)
        if link.busy:
            self.note_busy(link, busy=False)
        if link.port is not None:
            del self.by_port[link.port]

    def note_busy(self, link: Link, *, busy: bool) -> None:
        """Divide the round anew among the busy links: this one has become one, or is one no longer."""
        link.busy = busy
        self._busy += 1 if busy else -1
        share = FRAMES_A_ROUND // max(1, self._busy)
        self.frames_a_turn = max(MIN_FRAMES_A_TURN, min(MAX_FRAMES_A_TURN, share))

    # Timers

    def arm(self, link: Link) -> None:
        """Have a link be due when its peering says so."""
        link.timer_at = link.peering.deadline()
        heapq.heappush(self._timers, (link.timer_at, link.number))

    def due(self, now: float) -> Iterator[Link]:
        """The links that are due, earliest first; each is to be armed again or removed."""
        while self._timers and self._timers[0][0] <= now:
            due, number = heapq.heappop(self._timers)
            link = self.by_number.get(number)
            if link is not None and link.timer_at == due:
                yield link

    def deadline(self) -> float:
        """When the first is due, in seconds; infinity if none is."""
        return self._timers[0][0] if self._timers else NEVER
