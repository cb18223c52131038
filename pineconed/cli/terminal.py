# SPDX-License-Identifier: Apache-2.0
"""Blocks for a terminal, drawn by rich: colours, short keys where room is scarce, and nothing wider."""

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from pineconed.cli.blocks import Block, Fact, Facts, Line, Note, Table
from pineconed.cli.fitting import GAP, Fitted, fit
from pineconed.cli.units import NONE

_INDENT = 2
_LEAST_ROOM = 16
_TITLE_STYLE = "cyan"


def terminal_text(blocks: Sequence[Block], console: Console | None = None) -> str:
    """All blocks as one text with the terminal's codes, as wide as the terminal."""
    drawn = console or Console(highlight=False, markup=False, emoji=False)
    with drawn.capture() as capture:
        for position, block in enumerate(blocks):
            if position and not isinstance(block, Line | Note):
                drawn.print()
            _draw(drawn, block)
    return capture.get()


def _draw(console: Console, block: Block) -> None:
    if isinstance(block, Table):
        _draw_table(console, block)
    elif isinstance(block, Facts):
        _draw_facts(console, block)
    elif isinstance(block, Note):
        console.print(Text(block.text, style="dim"))
    else:
        console.print(Text(block.text), soft_wrap=True)


def _draw_table(console: Console, table: Table) -> None:
    if table.heading:
        console.print(Text(table.heading, style="bold"))
    if not table.rows:
        console.print(Text(table.empty, style="dim"))
        return
    fitted = fit(table, console.width)
    console.print(_grid(table, fitted))
    if fitted.left_out:
        console.print(Text(_left_out_text(fitted.left_out), style="dim"))


def _grid(table: Table, fitted: Fitted) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=_TITLE_STYLE)
    for column, width in zip(fitted.columns, fitted.widths, strict=True):
        grid.add_column(
            Text(column.title, no_wrap=True, overflow="ellipsis"),
            justify="right" if column.right else "left",
            width=width,
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
        )
    for texts, row in zip(fitted.texts, table.rows, strict=True):
        styles = [row[index].style for index in fitted.indexes]
        grid.add_row(*(Text(text, style=style) for text, style in zip(texts, styles, strict=True)))
    return grid


def _left_out_text(titles: Sequence[str]) -> str:
    columns = "1 column" if len(titles) == 1 else f"{len(titles)} columns"
    return f"{columns} left out for want of room; a wider terminal or --json shows all."


def _draw_facts(console: Console, facts: Facts) -> None:
    if facts.heading:
        console.print(Text(facts.heading, style="bold"))
    shown = [fact for fact in facts.facts if fact.title and fact.value.human != NONE]
    margin = " " * (_INDENT if facts.heading else 0)
    titles = max((len(fact.title) for fact in shown), default=0) + GAP
    room = max(console.width - len(margin) - titles, _LEAST_ROOM)
    for fact in shown:
        first, *others = _fact_lines(fact, room)
        line = Text.assemble(margin, (fact.title.ljust(titles), _TITLE_STYLE), (first, fact.value.style))
        console.print(line, soft_wrap=True)
        for other in others:
            console.print(Text.assemble(margin, " " * titles, (other, fact.value.style)), soft_wrap=True)


def _fact_lines(fact: Fact, room: int) -> list[str]:
    """The value in lines that fit: shortened if it can be, else broken between words."""
    text = fact.value.human
    if fact.shorten and len(text) > room and " " not in text:  # words stand there instead of a key
        return [fact.shorten(text)]
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]
