# SPDX-License-Identifier: Apache-2.0
"""Tables of what was measured, on the terminal and in files."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from tests.bench.measure import Figures, median

COLUMNS = {
    "bulk_1": "bulk Mbit/s",
    "bulk_4": "4 streams",
    "bulk_1_back": "back",
    "bulk_4_back": "4 back",
    "packets": "packets/s",
    "rtt": "RTT ms",
    "rtt_loaded": "under bulk",
    "cpu_per_gb": "CPU s/GB",
    "memory": "MB",
    "idle_cpu": "idle CPU %",
}
OURS = "pineconed"

Medians = dict[str, Figures]


def medians(rounds: Mapping[str, Sequence[Figures]]) -> Medians:
    """The median of each figure over the rounds of each program."""
    return {
        name: Figures(
            **{field.name: median([getattr(one, field.name) for one in of]) for field in fields(Figures)}
        )
        for name, of in rounds.items()
        if of
    }


def table(title: str, found: Medians, encrypting: Collection[str]) -> str:
    """One row for each program, then one for each ratio of ours to another's, as Markdown.

    `encrypting` names the programs that encrypt packets.
    """
    head = ["", "encrypts", *COLUMNS.values()]
    rows = [
        [name, "yes" if name in encrypting else "no", *(number(getattr(of, column)) for column in COLUMNS)]
        for name, of in found.items()
    ]
    if OURS in found:
        rows += [
            [f"{OURS} ÷ {name}", "", *(ratio(found[OURS], of, column) for column in COLUMNS)]
            for name, of in found.items()
            if name != OURS
        ]
    return f"### {title}\n\n{aligned([head, ['---'] * len(head), *rows])}\n"


def number(value: float) -> str:
    """Three significant digits, thousands with a comma."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(ours: Figures, theirs: Figures, column: str) -> str:
    below: float = getattr(theirs, column)
    return f"{getattr(ours, column) / below:.2f}" if below else "-"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save(directory: Path, tables: str, results: Mapping[str, Mapping[str, Sequence[Figures]]]) -> None:
    """Write `bench.md` and `bench.json` (all rounds)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "bench.md").write_text(tables)
    rounds = {
        title: {name: [asdict(one) for one in of] for name, of in programs.items()}
        for title, programs in results.items()
    }
    (directory / "bench.json").write_text(json.dumps(rounds, indent=1) + "\n")
