# SPDX-License-Identifier: Apache-2.0
"""Structs of the schema as a table for pipes: the columns are the fields, named as in JSON."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pineconed.admin.schema import Root
from pineconed.cli.blocks import Cell, Column, Table, cell
from pineconed.cli.cells import yes_no
from pineconed.cli.units import coords_text, number_plain


def struct_table(rows: Sequence[Struct], kind: type[Struct], last: str = "") -> Table:
    """All fields of `kind` as columns; `last` names the one that may hold spaces and so comes last."""
    names = sorted(kind.__struct_fields__, key=lambda name: name == last)
    cells = [[_plain_cell(getattr(row, name)) for name in names] for row in rows]
    numeric = [_is_numeric([getattr(row, name) for row in rows]) for name in names]
    columns = [Column(name, name, right=right) for name, right in zip(names, numeric, strict=True)]
    return Table(columns, cells)


def _plain_cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, float):
        return cell(number_plain(value))
    if isinstance(value, list):
        return cell(coords_text(value))
    if isinstance(value, dict):
        return cell(sum(value.values()))
    if isinstance(value, Root):
        return cell(value.public_key)
    return cell(value)


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float | dict) and not isinstance(value, bool) for value in known
    )
