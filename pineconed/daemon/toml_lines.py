# SPDX-License-Identifier: Apache-2.0
"""Where in a TOML text a key stands, found with the standard parser alone.

tomllib tells no line numbers. But a TOML text cut after a whole statement is a TOML text again, so the
statement that brings a key is the first one after which the parsed prefix holds that key. Nothing here
knows TOML's grammar, and nothing here runs unless there is a mistake to report.
"""

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]
"""Keys of tables and indexes of lists, outermost first: ("peering", "backoff_min"), ("connect", 2)."""

_MAX_LINES = 2000  # a longer file is no configuration of ours: its mistakes are named by key alone


class _Statement(NamedTuple):
    """Lines `first` to `last`, counted from 1, that only make sense together."""

    first: int
    last: int


def line_of(text: str, path: KeyPath) -> int | None:
    """The line, from 1, on which `path` is set in the valid TOML `text`; None if it is not set there.

    For an element of a list that runs over several lines it is the element's own line.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > _MAX_LINES:
        return None
    statements = _statements(lines)
    index = bisect_left(range(len(statements)), True, key=lambda i: _holds(lines[: statements[i].last], path))
    if index == len(statements):
        return None
    return _element_line(lines, statements[index], path)


def _statements(lines: Sequence[str]) -> list[_Statement]:
    """The text cut into the shortest runs of lines that parse by themselves."""
    statements = []
    first = 1
    for last in range(1, len(lines) + 1):
        if _parse(lines[first - 1 : last]) is not None:
            statements.append(_Statement(first, last))
            first = last + 1
    return statements


def _element_line(lines: Sequence[str], statement: _Statement, path: KeyPath) -> int:
    """Within `statement`, the first line after which a list closed at once already holds `path`."""
    for last in range(statement.first, statement.last):
        if _holds([*lines[:last], "]"], path):
            return last
    return statement.last if isinstance(path[-1], int) else statement.first


def _holds(lines: Sequence[str], path: KeyPath) -> bool:
    value: Any = _parse(lines)
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _parse(lines: Sequence[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
