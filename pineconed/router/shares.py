# SPDX-License-Identifier: Apache-2.0
"""How a bounded table is divided among the peerings that fill it."""

from collections import Counter


class Shares:
    """Counts the rows that each port holds in a table of `limit` rows.

    The first `common` rows are for whoever comes first. The rest is divided evenly, so that peers which
    invent rows cannot take the room of the others: while the common rows are taken, a port above its share
    gets nothing new and may not renew what it has, so its rows run out by age. The share shrinks as
    peerings come.
    """

    def __init__(self, limit: int, common: int = 0) -> None:
        self.limit = limit
        self.common = common
        self._held: Counter[int] = Counter()
        self._total = 0

    def admits(self, port: int, peerings: int, *, holds_it: bool) -> bool:
        """Whether `port` may add a row, or keep one that it holds, among `peerings` peerings."""
        if self._total - holds_it < self.common:
            return True
        share = (self.limit - self.common) // (peerings + 1)
        return self._held[port] - holds_it < share

    def held(self, port: int) -> int:
        """How many rows `port` holds."""
        return self._held[port]

    def add(self, port: int) -> None:
        """Note a row of `port`."""
        self._held[port] += 1
        self._total += 1

    def remove(self, port: int) -> None:
        """Note that a row of `port` is gone."""
        self._held[port] -= 1
        self._total -= 1
        if not self._held[port]:
            del self._held[port]
