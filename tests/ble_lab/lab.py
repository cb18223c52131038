# SPDX-License-Identifier: Apache-2.0
"""The Bluetooth lab: a machine in QEMU with two virtual adapters and a real bluetoothd.

`python -m tests.ble_lab.lab MINUTES` peers two nodes in it for so long, with traffic, and prints a look at
them every minute.
"""

import compileall
import json
import os
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
PATIENCE = 230
"""Seconds that the machine may run in a test."""


def root() -> Path:
    """The machine's root, made if there is none of this recipe."""
    prepared = subprocess.run([HERE / "prepare"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(prepared.stdout.strip())


def results(*arguments: str, seconds: float = PATIENCE) -> Iterator[dict[str, Any]]:
    """What the scenario tells, as it does. RuntimeError with all that it printed when it fails."""
    compileall.compile_dir(CHECKOUT / "pineconed", quiet=2)  # or the machine would do it at every start
    libraries = site.getsitepackages()[0]
    command: list[str | Path] = [
        HERE / "boot",
        root(),
        CHECKOUT,
        libraries,
        "tests.ble_lab.guest.scenario",
        *arguments,
    ]
    printed: list[str] = []
    with subprocess.Popen(
        ["timeout", "--kill-after=5", str(seconds), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    ) as machine:
        assert machine.stdout is not None
        for line in machine.stdout:
            printed.append(line)
            told = line.rpartition("LAB ")[2].strip()
            if "LAB {" in line:
                yield json.loads(told)
    if not any(line.rpartition("LAB ")[2].strip() == "exit 0" for line in printed):
        raise RuntimeError(f"the scenario failed:\n{''.join(printed)}")


def main() -> None:
    """Print what is told, each with the time."""
    minutes = float(sys.argv[1])
    for result in results(str(minutes), seconds=60 * minutes + PATIENCE):
        print(time.strftime("%H:%M:%S"), json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
