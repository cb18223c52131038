# SPDX-License-Identifier: Apache-2.0
"""What a command prints, before anybody knows whether it goes to a terminal or into a pipe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pineconed.cli.units import NONE, printable

ELLIPSIS = "…"
_SHORT_KEY = 12


class Cell(NamedTuple):
    """One value: `plain` for programs, `human` for people, in a rich `style`."""

    plain: str
    human: str
    style: str = ""


def cell(plain: object, human: str | None = None, style: str = "") -> Cell:
    """A value made safe to print; None and empty text are a dash."""
    text = NONE if plain is None or plain == "" else printable(str(plain))
    return Cell(text, printable(human) if human is not None else text, style)


def short_key(text: str) -> str:
    """A key cut to its first digits."""
    return text if len(text) <= _SHORT_KEY + 1 else text[:_SHORT_KEY] + ELLIPSIS


def short_address(text: str) -> str:
    """An address cut to its first two groups."""
    groups = text.split(":")
    return text if len(groups) < 4 else f"{groups[0]}:{groups[1]}:{ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `name` heads it in a pipe, `title` on a terminal. When a terminal is too narrow, columns with
    `least` are cut to no less than that width, and all make room one after the other, from the lowest
    number on: at `shorten_at` the texts are shortened by `shorten`, at `keep` the column goes. What
    does not fit into a column that `folds` goes on in the next line instead of being cut.
    """

    name: str
    title: str
    keep: int = 100
    right: bool = False
    shorten: Callable[[str], str] | None = None
    shorten_at: int = 0
    least: int = 0
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `heading` and `empty` are said on a terminal only."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    heading: str = ""
    empty: str = ""


class Fact(NamedTuple):
    """One named value: `name` in a pipe, `title` on a terminal; without title or value only in a pipe."""

    name: str
    title: str
    value: Cell
    shorten: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Named values, one a line; `heading` is said on a terminal only."""

    facts: Sequence[Fact]
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, the same everywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A hint for people; into a pipe nothing is written."""

    text: str


Block = Table | Facts | Line | Note
