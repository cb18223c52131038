# SPDX-License-Identifier: Apache-2.0
"""Other nodes get a bounded number of lines, and what is left out is counted."""

from typing import Any

import pytest

from pineconed.daemon.log_limiter import LEFT_OUT, LINES_PER_CAUSE, MAX_ROWS, WINDOW, Level, LogLimiter


class Desk:
    """A limiter with a clock that is set by hand and a list for a log."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.levels = {"info", "warning"}
        self.limiter = LogLimiter(self._write, self._wanted, lambda: self.now)

    def _write(self, _: Level, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((event, fields))

    def _wanted(self, level: Level) -> bool:
        return level in self.levels

    def log(
        self, peer: str = "p", cause: str = "c", burst: int = 1, level: Level = "info", **fields: Any
    ) -> None:
        self.limiter.log(level, "happened", fields, cause=cause, peer=peer, burst=burst)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_line_is_written_as_it_is(desk: Desk) -> None:
    desk.log(a=1)
    assert desk.lines == [("happened", {"a": 1})]


def test_the_next_window_tells_how_many_were_left_out(desk: Desk) -> None:
    for number in range(18):
        desk.log(number=number)
    desk.now += WINDOW
    desk.log(number=18)
    assert desk.lines == [("happened", {"number": 0}), ("happened", {"number": 18, "repeated": 17})]


def test_flush_tells_of_lines_that_nothing_followed_with_the_last_of_them(desk: Desk) -> None:
    for number in range(18):
        desk.log(number=number)
    desk.limiter.flush()
    assert len(desk.lines) == 1
    desk.now += WINDOW
    desk.limiter.flush()
    desk.limiter.flush()
    assert desk.lines[1:] == [("happened", {"number": 17, "repeated": 17})]


def test_a_flood_makes_one_line_per_window(desk: Desk) -> None:
    for _ in range(100):
        for _ in range(10):
            desk.log()
        desk.now += WINDOW / 10
        desk.limiter.flush()
    assert len(desk.lines) == 11
    assert sum(fields.get("repeated", 1) for _, fields in desk.lines) <= 1000


def test_after_silence_a_line_is_written_at_once_again(desk: Desk) -> None:
    desk.log()
    desk.now += WINDOW
    desk.limiter.flush()
    desk.log()
    assert desk.lines == [("happened", {}), ("happened", {})]


def test_a_burst_is_written_whole(desk: Desk) -> None:
    for _ in range(5):
        desk.log(burst=3)
    assert len(desk.lines) == 3


def test_causes_and_peers_are_told_apart(desk: Desk) -> None:
    desk.log("p", "c")
    desk.log("p", "d")
    desk.log("q", "c")
    assert len(desk.lines) == 3


def test_lines_below_the_level_cost_no_row(desk: Desk) -> None:
    desk.log(level="debug")
    desk.log(level="info")
    assert len(desk.lines) == 1


def test_the_table_is_bounded_and_the_rest_shares_a_row_per_cause(desk: Desk) -> None:
    for number in range(MAX_ROWS):
        desk.log(f"peer {number}", f"cause {number % 16}")
    for number in range(100):
        desk.log(f"new peer {number}")
    assert len(desk.lines) == MAX_ROWS + 1
    assert len(desk.limiter._rows) == MAX_ROWS + 1
    desk.now += WINDOW
    desk.limiter.flush()
    assert desk.lines[-1] == ("happened", {"repeated": 99})
    desk.now += WINDOW
    desk.limiter.flush()
    desk.lines.clear()
    desk.log("new")
    assert desk.lines == [("happened", {})]


def test_a_flood_from_ever_new_peers_is_bounded_per_cause_and_counted(desk: Desk) -> None:
    for number in range(50 * 3600):
        desk.log(f"peer {number}")
        if number % 50 == 0:
            desk.now += 1
            desk.limiter.flush()
    assert len(desk.lines) <= (LINES_PER_CAUSE + 1) * 61
    desk.now += WINDOW
    desk.limiter.flush()
    left_out = sum(fields["lines"] for event, fields in desk.lines if event == LEFT_OUT)
    written = sum(1 for event, _ in desk.lines if event != LEFT_OUT)
    assert written + left_out == 50 * 3600


def test_a_flood_of_one_cause_leaves_the_others_alone(desk: Desk) -> None:
    for number in range(1000):
        desk.log(f"peer {number}")
    desk.lines.clear()
    desk.log("peer", "another cause", a=1)
    assert desk.lines == [("happened", {"a": 1})]


def test_what_was_left_out_of_a_cause_is_told_once_with_its_window(desk: Desk) -> None:
    for number in range(LINES_PER_CAUSE + 7):
        desk.log(f"peer {number}")
    assert len(desk.lines) == LINES_PER_CAUSE
    desk.lines.clear()
    desk.now += WINDOW
    desk.log("peer")
    desk.limiter.flush()
    assert desk.lines == [(LEFT_OUT, {"cause": "c", "lines": 7}), ("happened", {})]
    desk.now += WINDOW
    desk.limiter.flush()
    assert not desk.limiter._totals
    assert not desk.limiter._rows


def test_a_count_that_comes_when_its_cause_had_all_its_lines_is_left_out_too(desk: Desk) -> None:
    desk.log("first")
    desk.now += WINDOW / 2
    for _ in range(3):
        desk.log("old")
    desk.now += WINDOW / 2
    for number in range(LINES_PER_CAUSE):
        desk.log(f"peer {number}")
    desk.lines.clear()
    desk.now += WINDOW / 2
    desk.limiter.flush()
    assert desk.lines == []
    desk.now += WINDOW / 2
    desk.limiter.flush()
    assert desk.lines == [(LEFT_OUT, {"cause": "c", "lines": 2})]
