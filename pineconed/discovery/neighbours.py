# SPDX-License-Identifier: Apache-2.0
"""Nodes that are heard on the network and not connected, in a table that beacons cannot overfill."""

from dataclasses import dataclass, field

from pineconed.discovery.beacon import Beacon
from pineconed.discovery.interfaces import IpAddress
from pineconed.rate import TokenBucket

FORGET = 15.0
"""Seconds without a beacon after which a node is forgotten, unless it has yet to wait for its next dial."""

FIRST_WAIT = 4.0
LONGEST_WAIT = 300.0
"""Seconds until somebody who was dialled in vain is dialled again: at first, and at most; it doubles."""

MAX_ROWS = 1024
"""Rows in all."""

MAX_ROWS_PER_ADDRESS = 8
"""Rows of one address: several nodes may run on one host."""

DIALS_PER_SECOND_AND_ADDRESS = 0.2
DIALS_BURST_PER_ADDRESS = 3
"""How fast dials to one address may follow each other, so that nobody can have us pester it in its name."""

Where = tuple[int, IpAddress]
"""The index of an interface and an address on it."""


@dataclass(slots=True)
class Row:
    """A node, as its beacons from one address tell.

    `since`: when its absence was noticed; `heard`: its last beacon; `not_before`: when it may be dialled.
    """

    port: int
    since: float
    heard: float
    not_before: float = 0.0
    failures: int = 0

    def fail(self, now: float) -> None:
        """It was dialled in vain."""
        self.not_before = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.failures, 16))
        self.failures += 1


@dataclass(slots=True)
class Neighbour:
    """What one address on an interface has: rows by key, the rate of its dials, whether one runs."""

    rate: TokenBucket
    rows: dict[bytes, Row] = field(default_factory=dict)
    dialling: bool = False


class Neighbours:
    """All rows by interface, address and key. `now` is in seconds of a clock that only moves forward."""

    def __init__(self) -> None:
        self._by_place: dict[Where, Neighbour] = {}
        self._rows = 0
        self._swept = 0.0

    def at(self, where: Where) -> Neighbour | None:
        """What is known of an address."""
        return self._by_place.get(where)

    def row(self, where: Where, key: bytes) -> Row | None:
        """The row of a node."""
        place = self._by_place.get(where)
        return place.rows.get(key) if place else None

    def refresh(self, where: Where, beacon: Beacon, now: float) -> Row | None:
        """Another beacon came: the row of its node, if there is one. A new port forgets all failures."""
        row = self.row(where, beacon.public_key)
        if row is not None:
            row.heard = now
            if row.port != beacon.port:  # it was started anew
                row.port, row.failures, row.not_before = beacon.port, 0, 0.0
        return row

    def add(self, where: Where, beacon: Beacon, now: float) -> Row | None:
        """A new row, None if there is no room for it."""
        place = self._by_place.get(where)
        if place is not None and len(place.rows) >= MAX_ROWS_PER_ADDRESS and not self._drop_failed(place):
            return None
        if self._rows >= MAX_ROWS and not self._make_room(now):
            return None
        # Making room may have taken the address away.
        place = self._by_place.setdefault(where, place or Neighbour(_rate(now)))
        row = place.rows[beacon.public_key] = Row(beacon.port, since=now, heard=now)
        self._rows += 1
        return row

    def keep_interfaces(self, indexes: set[int]) -> None:
        """Forget everybody on other interfaces."""
        for where in [where for where in self._by_place if where[0] not in indexes]:
            self._rows -= len(self._by_place.pop(where).rows)

    def note_absence(self, index: int, key: bytes, now: float) -> None:
        """From now on a node that was connected has its time to dial."""
        for (at, _), place in self._by_place.items():
            if at == index and key in place.rows:
                place.rows[key].since = now

    def keys(self, index: int) -> set[bytes]:
        """Everybody on an interface."""
        return {key for (at, _), place in self._by_place.items() if at == index for key in place.rows}

    def sweep(self, now: float) -> None:
        """Forget those that are silent."""
        self._swept = now
        for where, place in list(self._by_place.items()):
            over = [key for key, row in place.rows.items() if now >= max(row.heard + FORGET, row.not_before)]
            for key in over:
                del place.rows[key]
            self._rows -= len(over)
            if not place.rows and not place.dialling:
                del self._by_place[where]

    def _make_room(self, now: float) -> bool:
        """Look for silent ones, once a second at most; whether there is room."""
        if now - self._swept >= 1:
            self.sweep(now)
        return self._rows < MAX_ROWS

    def _drop_failed(self, place: Neighbour) -> bool:
        """Make room for a new key of an address: the one that was dialled in vain most often goes."""
        key, row = max(place.rows.items(), key=lambda item: item[1].failures)
        if not row.failures:
            return False
        del place.rows[key]
        self._rows -= 1
        return True


def _rate(now: float) -> TokenBucket:
    return TokenBucket(DIALS_PER_SECOND_AND_ADDRESS, DIALS_BURST_PER_ADDRESS, DIALS_BURST_PER_ADDRESS, now)
