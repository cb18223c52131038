# SPDX-License-Identifier: Apache-2.0
"""A flooding process on a host of the lab: it prepares, begins when it is told, and reports."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.network.lab import Namespace


class Flooder:
    """`python -m MODULE ARGUMENTS` on `host`, which says `ready`, and prints JSON as its last line."""

    def __init__(
        self, host: Namespace, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._popen = subprocess.Popen(
            host.enter(sys.executable, "-m", module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **(environment or {})},
        )

    def wait_ready(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            if line.strip() == "ready":
                return
        raise AssertionError("the flood could not be prepared")

    def begin(self) -> None:
        """Let it flood; it goes on by itself."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("go\n")
        self._popen.stdin.flush()

    def report(self, timeout: float) -> dict[str, Any]:
        """Wait for the end of the flood and return what it says of itself."""
        output, _ = self._popen.communicate(timeout=timeout)
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.kill()
        self._popen.communicate()
