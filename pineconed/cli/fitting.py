# SPDX-License-Identifier: Apache-2.0
"""Which columns of a table a terminal has room for, so that no row wraps."""

from collections.abc import Sequence
from dataclasses import dataclass

from pineconed.cli.blocks import Column, Table

GAP = 2
"""Spaces between two columns."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that fits: the columns that are left, their widths, their texts, and the titles left out."""

    columns: Sequence[Column]
    indexes: Sequence[int]
    widths: Sequence[int]
    texts: Sequence[Sequence[str]]
    left_out: Sequence[str]


def fit(table: Table, width: int) -> Fitted:
    """Take steps in the order of their numbers until the table fits, then cut what is flexible.

    At the end the first column is cut if not even that one fits.
    """
    layout = _Layout(table)
    for number in sorted(
        {*(c.shorten_at for c in table.columns if c.shorten), *(c.keep for c in table.columns)}
    ):
        if layout.least_width() <= width:
            break
        layout.give_way(number)
    layout.cut(width)
    return layout.fitted()


class _Layout:
    """The columns that are still there, and how wide each is."""

    def __init__(self, table: Table) -> None:
        self._columns = table.columns
        self._texts = [[cell.human for cell in row] for row in table.rows]
        self._chosen = list(range(len(table.columns)))
        self._widths = [self._natural(index) for index in self._chosen]

    def least_width(self) -> int:
        """The width of the whole if flexible columns were cut as far as is sensible."""
        least = (min(self._widths[i], self._columns[i].least or self._widths[i]) for i in self._chosen)
        return sum(least) + GAP * (len(self._chosen) - 1)

    def give_way(self, number: int) -> None:
        """Shorten the columns whose turn it is, and let those go whose turn it is, but never all."""
        for index in self._chosen:
            column = self._columns[index]
            if column.shorten and column.shorten_at == number:
                for row in self._texts:
                    row[index] = column.shorten(row[index])
                self._widths[index] = self._natural(index)
        left = [index for index in self._chosen if self._columns[index].keep != number]
        self._chosen = left or self._chosen[:1]

    def cut(self, width: int) -> None:
        """Take what is too much from the flexible columns, the last one first, then from the first column."""
        flexible = [index for index in reversed(self._chosen) if self._columns[index].least]
        for index in flexible:
            self._narrow(index, self._columns[index].least, width)
        self._narrow(self._chosen[0], 1, width)

    def _narrow(self, index: int, least: int, width: int) -> None:
        excess = sum(self._widths[i] for i in self._chosen) + GAP * (len(self._chosen) - 1) - width
        if excess > 0:
            self._widths[index] = max(min(least, self._widths[index]), self._widths[index] - excess)

    def fitted(self) -> Fitted:
        """What has come of it."""
        gone = [index for index in range(len(self._columns)) if index not in self._chosen]
        return Fitted(
            columns=[self._columns[index] for index in self._chosen],
            indexes=self._chosen,
            widths=[self._widths[index] for index in self._chosen],
            texts=[[row[index] for index in self._chosen] for row in self._texts],
            left_out=[self._columns[index].title for index in gone],
        )

    def _natural(self, index: int) -> int:
        return max([len(self._columns[index].title), *(len(row[index]) for row in self._texts)])
