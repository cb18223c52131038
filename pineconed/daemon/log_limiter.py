# SPDX-License-Identifier: Apache-2.0
"""Keeps other nodes from filling our log.

Every line that another node can cause goes through here. Of the lines with one cause and one peer a few are
written per window; the rest is counted, and the next line, or the end of the window, tells the number as
`repeated`. Causes are words of our own. Peers are names that cost something to change: a source address
or a configured URI, never a key, since anyone can make keys. But a /48 holds 65,536 sources, so the lines
with one cause are bounded over all peers as well, and one at the end of the window counts what that left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

WINDOW = 60.0
"""Seconds in which one cause and one peer get their few lines."""

MAX_ROWS = 512
"""Pairs that are told apart; all pairs beyond that share one row per cause."""

LINES_PER_CAUSE = 60
"""Lines in a window with one cause, whoever caused them."""

LEFT_OUT = "too many lines with one cause; the rest was left out"
EVERYBODY_ELSE = "(others)"

Level = Literal["debug", "info", "warning", "error"]
Write = Callable[[Level, str, dict[str, Any]], None]


@dataclass(slots=True)
class _Row:
    """One cause and one peer: when the window ends, lines left in it, lines left out and the last of them."""

    until: float
    left: int
    repeated: int = 0
    last: tuple[Level, str, dict[str, Any]] | None = None


@dataclass(slots=True)
class _Total:
    """One cause over all peers: when the window ends, lines left in it, lines left out and their level."""

    until: float
    left: int = LINES_PER_CAUSE
    left_out: int = 0
    level: Level = "info"


class LogLimiter:
    """Passes a bounded number of lines on to `write`, and costs next to nothing for those below the level.

    `wanted` tells whether lines of a level are written at all, `clock` gives seconds that only grow.
    """

    def __init__(self, write: Write, wanted: Callable[[Level], bool], clock: Callable[[], float]) -> None:
        self._write = write
        self._wanted = wanted
        self._clock = clock
        self._rows: dict[tuple[str, str], _Row] = {}
        self._totals: dict[str, _Total] = {}

    def log(
        self, level: Level, event: str, fields: dict[str, Any], *, cause: str, peer: str, burst: int = 1
    ) -> None:
        """Write a line, unless this cause and peer, or the cause over all peers, had their lines."""
        if not self._wanted(level):
            return
        now = self._clock()
        total = self._total(cause, now)
        if not total.left:
            total.left_out += 1
            total.level = level
            return
        row = self._row(cause, peer, burst, now)
        if row.left:
            row.left -= 1
            self._emit(total, row, level, event, fields)
        else:
            row.repeated += 1
            row.last = (level, event, fields)

    def flush(self) -> None:
        """Call now and then: tells what was left out in windows that are over, forgets the quiet ones."""
        now = self._clock()
        for cause in [cause for cause, total in self._totals.items() if now >= total.until]:
            self._tell_left_out(cause, self._totals.pop(cause))
        for pair, row in list(self._rows.items()):
            if now < row.until:
                continue
            if row.last is None:
                del self._rows[pair]
                continue
            total = self._total(pair[0], now)
            if not total.left:
                total.left_out += row.repeated
                total.level = row.last[0]
                del self._rows[pair]
                continue
            row.until, row.left = now + WINDOW, 0
            self._emit(total, row, *row.last)

    def _total(self, cause: str, now: float) -> _Total:
        total = self._totals.get(cause)
        if total is not None and now < total.until:
            return total
        if total is not None:
            self._tell_left_out(cause, total)
        self._totals[cause] = fresh = _Total(now + WINDOW)
        return fresh

    def _tell_left_out(self, cause: str, total: _Total) -> None:
        if total.left_out:
            self._write(total.level, LEFT_OUT, {"cause": cause, "lines": total.left_out})

    def _row(self, cause: str, peer: str, burst: int, now: float) -> _Row:
        row = self._rows.get((cause, peer))
        if row is None:
            if len(self._rows) >= MAX_ROWS and peer != EVERYBODY_ELSE:
                return self._row(cause, EVERYBODY_ELSE, burst, now)
            row = self._rows[cause, peer] = _Row(now + WINDOW, burst)
        elif now >= row.until:
            row.until, row.left = now + WINDOW, burst
        return row

    def _emit(self, total: _Total, row: _Row, level: Level, event: str, fields: dict[str, Any]) -> None:
        extra = {"repeated": row.repeated} if row.repeated else {}
        row.repeated, row.last = 0, None
        total.left -= 1
        self._write(level, event, fields | extra)
