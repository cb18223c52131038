# SPDX-License-Identifier: Apache-2.0
"""Blocks for a terminal, drawn by rich: colours, short keys where room is scarce, and never a wrapped row."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from pineconed.cli.blocks import Block, Fact, Facts, Line, Note, Table
from pineconed.cli.fitting import GAP, Fitted, fit

_INDENT = 2


def terminal_text(blocks: Sequence[Block], console: Console | None = None) -> str:
    """All blocks as one text with the terminal's codes, as wide as the terminal."""
    drawn = console or Console(highlight=False, markup=False, emoji=False)
    with drawn.capture() as capture:
        for position, block in enumerate(blocks):
            if position:
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
        assert isinstance(block, Line)  # noqa: S101 - the last kind of block
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
    grid = Grid(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold cyan")
    for column, width in zip(fitted.columns, fitted.widths, strict=True):
        grid.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for texts, row in zip(fitted.texts, table.rows, strict=True):
        styles = [row[index].style for index in fitted.indexes]
        grid.add_row(*(Text(text, style=style) for text, style in zip(texts, styles, strict=True)))
    return grid


def _left_out_text(titles: Sequence[str]) -> str:
    return f"Not shown for want of room: {', '.join(titles)}. A wider terminal or --json shows all."


def _draw_facts(console: Console, facts: Facts) -> None:
    if facts.heading:
        console.print(Text(facts.heading, style="bold"))
    indent = _INDENT if facts.heading else 0
    shown = [fact for fact in facts.facts if fact.title]
    titles = max((len(fact.title) for fact in shown), default=0)
    room = console.width - indent - titles - GAP
    grid = Grid.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=titles, no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in shown:
        grid.add_row(Text(fact.title, style="cyan"), Text(_fact_text(fact, room), style=fact.value.style))
    console.print(Padding(grid, (0, 0, 0, indent)))


def _fact_text(fact: Fact, room: int) -> str:
    text = fact.value.human
    return fact.shorten(text) if fact.shorten and len(text) > room else text
