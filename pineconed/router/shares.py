# SPDX-License-Identifier: Apache-2.0
"""How a bounded table is divided among the peerings that fill it."""

from collections import Counter


class Shares:
    """Counts the rows that each port holds in a table of `limit` rows.

    A port may hold an even share, so that one peer that invents rows cannot take the room of the
    others. The share shrinks as peerings come; a port above it gets nothing new and may not renew
    what it has, so its rows run out by age.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: Counter[int] = Counter()

    def admits(self, port: int, peerings: int, *, holds_it: bool) -> bool:
        """Whether `port` may add a row, or keep one that it holds, among `peerings` peerings."""
        share = self.limit // (peerings + 1)
        return self._held[port] - holds_it < share

    def held(self, port: int) -> int:
        """How many rows `port` holds."""
        return self._held[port]

    def add(self, port: int) -> None:
        """Note a row of `port`."""
        self._held[port] += 1

    def remove(self, port: int) -> None:
        """Note that a row of `port` is gone."""
        self._held[port] -= 1
        if not self._held[port]:
            del self._held[port]
