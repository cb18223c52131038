# SPDX-License-Identifier: Apache-2.0
"""Print the branch coverage of every module and fail when one of the protocol core is under the limit.

Reads the JSON report of coverage.py: ``python .ci/coverage_gate.py coverage.json``.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CORE = ("wire", "dataplane", "router", "peering", "overlay", "node")
LIMIT = 95.0


class Module(NamedTuple):
    """One module's branches; ``missing`` lists the first few that no test took, as line -> line."""

    path: str
    taken: int
    total: int
    missing: str

    @property
    def percent(self) -> float:
        """Share of branches taken; a module without any counts as covered when it was run at all."""
        return 100.0 * self.taken / self.total if self.total else 100.0

    @property
    def is_core(self) -> bool:
        """Whether the module belongs to the protocol core."""
        return Path(self.path).parts[1].removesuffix(".py") in CORE


def read_modules(report: Path) -> Iterator[Module]:
    """Yield the modules of a JSON report in the order of their paths."""
    files = json.loads(report.read_text())["files"]
    for path, entry in sorted(files.items()):
        summary = entry["summary"]
        arcs = [f"{a}->{b if b > 0 else 'exit'}" for a, b in entry.get("missing_branches", [])]
        missing = ", ".join(arcs[:8]) + (", ..." if len(arcs) > 8 else "")
        yield Module(path, summary["covered_branches"], summary["num_branches"], missing)


def main() -> int:
    """Print the table; return 1 when a core module is under the limit, or when there is none at all."""
    modules = list(read_modules(Path(sys.argv[1])))
    core = [module for module in modules if module.is_core]
    for module in modules:
        mark = "core" if module.is_core else "    "
        print(f"{module.percent:6.1f} % {mark} {module.path}  {module.missing}")
    low = [module for module in core if module.percent < LIMIT]
    taken, total = sum(m.taken for m in core), sum(m.total for m in core)
    print(f"core: {taken} of {total} branches, {len(low)} of {len(core)} modules under {LIMIT:.0f} %")
    return 1 if low or not core else 0


if __name__ == "__main__":
    sys.exit(main())
