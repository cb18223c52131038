# SPDX-License-Identifier: Apache-2.0
"""Blocks as plain text for pipes: aligned with spaces, nothing cut, no colours, units as in JSON."""

from collections.abc import Sequence

from pineconed.cli.blocks import Block, Facts, Line, Note, Table

_GAP = "  "


def plain_text(blocks: Sequence[Block]) -> str:
    """All blocks, with an empty line before tables and facts; hints are left out."""
    text = ""
    for block in blocks:
        if not isinstance(block, Note):
            text += "\n" if text and not isinstance(block, Line) else ""
            text += _text(block)
    return text


def _text(block: Table | Facts | Line) -> str:
    if isinstance(block, Line):
        return block.text + "\n"
    if isinstance(block, Facts):
        return _aligned([[fact.name, fact.value.plain] for fact in block.facts], [False, False])
    rows = [[cell.plain for cell in row] for row in block.rows]
    return _aligned([[column.name for column in block.columns], *rows], [c.right for c in block.columns])


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(right))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip() + "\n")
    return "".join(lines)
