# SPDX-License-Identifier: Apache-2.0
"""Values that several commands show, each in the one way in which it is shown."""

from collections.abc import Mapping

from pineconed.cli.blocks import Block, Cell, Note, cell
from pineconed.cli.units import NONE, duration_text, number_plain, round_trip_text


def yes_no(value: bool) -> Cell:
    """A truth in words."""
    return cell("yes" if value else "no")


def span_cell(seconds: float | None, after: str = "") -> Cell:
    """A time span; `after` follows for people, such as " ago"."""
    return cell(number_plain(seconds), NONE if seconds is None else duration_text(seconds) + after)


def round_trip_cell(seconds: float | None) -> Cell:
    """A round-trip time."""
    return cell(number_plain(seconds), round_trip_text(seconds))


def drops_cell(drops: Mapping[str, int]) -> Cell:
    """How many packets were dropped, for people by cause."""
    causes = [f"{count:,} {cause.replace('_', ' ')}" for cause, count in sorted(drops.items()) if count]
    return cell(sum(drops.values()), ", ".join(causes) or "0", "yellow" if causes else "")


def totals_note(counters: Mapping[str, int]) -> list[Block]:
    """What was counted since the start, in a line below a table; nothing if nothing was."""
    told = [f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(counters.items()) if count]
    return [Note(f"Since the start: {', '.join(told)}.")] if told else []
