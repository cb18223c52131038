# SPDX-License-Identifier: Apache-2.0
"""Which columns of a table a terminal has room for, so that no row wraps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pineconed.cli.blocks import Column, Table

GAP = 2
"""Spaces between two columns."""

_LEAST_FLEXIBLE = 16


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that fits: the columns that are left, their widths, the texts, and the titles left out."""

    columns: Sequence[Column]
    indexes: Sequence[int]
    widths: Sequence[int]
    texts: Sequence[Sequence[str]]
    left_out: Sequence[str]


def fit(table: Table, width: int) -> Fitted:
    """Cut keys first, then cut flexible columns, then leave columns out, lowest ``keep`` first."""
    texts = [[cell.human for cell in row] for row in table.rows]
    chosen = list(range(len(table.columns)))
    widths = _widths(table, texts)
    for index in _shorten_order(table):
        if _total(widths, chosen) > width:
            shorten = table.columns[index].shorten
            texts = [_replaced(row, index, shorten(row[index]) if shorten else row[index]) for row in texts]
            widths = _widths(table, texts)
    left_out = []
    while len(chosen) > 1 and _total(_squeezed(table, widths), chosen) > width:
        worst = min(chosen, key=lambda index: table.columns[index].keep)
        chosen.remove(worst)
        left_out.append(worst)
    widths = _cut(table, widths, chosen, width)
    return Fitted(
        columns=[table.columns[index] for index in chosen],
        indexes=chosen,
        widths=[widths[index] for index in chosen],
        texts=[[row[index] for index in chosen] for row in texts],
        left_out=[table.columns[index].title for index in sorted(left_out)],
    )


def _shorten_order(table: Table) -> list[int]:
    indexes = [index for index, column in enumerate(table.columns) if column.shorten]
    return sorted(indexes, key=lambda index: table.columns[index].keep)


def _widths(table: Table, texts: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([len(column.title), *(len(row[index]) for row in texts)])
        for index, column in enumerate(table.columns)
    ]


def _total(widths: Sequence[int], chosen: Sequence[int]) -> int:
    return sum(widths[index] for index in chosen) + GAP * (len(chosen) - 1)


def _squeezed(table: Table, widths: Sequence[int]) -> list[int]:
    """The widths if flexible columns were cut as far as is sensible."""
    return [
        min(width, _LEAST_FLEXIBLE) if column.flexible else width
        for column, width in zip(table.columns, widths, strict=True)
    ]


def _cut(table: Table, widths: Sequence[int], chosen: Sequence[int], width: int) -> list[int]:
    """Take what is still too much from the flexible columns, the last first; else from the last one."""
    result = list(widths)
    flexible = [index for index in chosen if table.columns[index].flexible]
    for index in [*reversed(flexible), chosen[-1]]:
        excess = _total(result, chosen) - width
        if excess > 0:
            least = _LEAST_FLEXIBLE if index in flexible else 1
            result[index] = max(least, result[index] - excess)
    return result


def _replaced(row: Sequence[str], index: int, text: str) -> list[str]:
    return [*row[:index], text, *row[index + 1 :]]
