# SPDX-License-Identifier: Apache-2.0
"""Measures pineconed beside the bare link and every other overlay on this machine, in turns, as root.

    python tests/bench/run.py [--rounds 3] [--seconds 5] [--hosts 2] [--only NAME] [--output DIR]

Each round starts every program afresh and measures it, so that all see the same moods of the machine; the
tables hold medians over the rounds and what pineconed reaches relative to the others. PINECONEIP_GO names the
reference's `pineconeip`; yggdrasil, wireguard-go, nebula and mycelium are taken from the path.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.measure import Bench, Figures, compile_packets
from tests.bench.programs import ALL, Program
from tests.bench.report import medians, save, table
from tests.network.lab import Lab, LabError

Rounds = dict[str, list[Figures]]


def measure(program: Program, count: int, packets: Path, seconds: float) -> Figures:
    """Build a line of hosts, start the program, measure it, and take everything away."""
    with Lab() as lab:
        hosts = lab.hosts(" ".join(f"h{number}" for number in range(count)))
        links = [lab.link(left, right) for left, right in pairwise(hosts)]
        return Bench(hosts, program.start(hosts, links), packets, seconds).measure()


def rounds_of(programs: Sequence[Program], count: int, packets: Path, options: argparse.Namespace) -> Rounds:
    """Measure all programs in turn, several times."""
    found: Rounds = {program.name: [] for program in programs}
    for number in range(options.rounds):
        for program in programs:
            print(f"round {number + 1}, {count} hosts: {program.name}", file=sys.stderr, flush=True)
            try:
                found[program.name].append(measure(program, count, packets, options.seconds))
            except LabError as error:
                print(f"  failed: {error}", file=sys.stderr, flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes")
    parser.add_argument("--hosts", type=int, action="append", choices=[2, 3], help="length of the line")
    names = [program.name for program in ALL]
    parser.add_argument("--only", action="append", choices=names, help="measure only these programs")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="where the tables are saved")
    return parser.parse_args()


def main() -> int:
    """Measure, print and save."""
    options = arguments()
    if os.geteuid() != 0:
        print("network namespaces need root", file=sys.stderr)
        return 1
    programs = [one for one in ALL if one.available() and one.name in (options.only or [one.name])]
    results: dict[str, Rounds] = {}
    with contextlib.ExitStack() as stack:
        packets = compile_packets(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        for count in options.hosts or [2, 3]:
            able = [program for program in programs if count == 2 or program.relays]
            results[f"{count} hosts in a line"] = rounds_of(able, count, packets, options)
    encrypting = {program.name for program in programs if program.encrypts}
    tables = "\n".join(table(title, medians(rounds), encrypting) for title, rounds in results.items())
    print(tables)
    save(options.output, tables, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
