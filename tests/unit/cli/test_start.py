# SPDX-License-Identifier: Apache-2.0
"""pineconectl starts fast, and each --help explains with examples."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pineconed.cli.failures import ExitCode
from tests.unit.cli.conftest import Pineconectl
from tests.unit.cli.process import COMMAND, environment, piped
from tests.unit.cli.test_commands import COMMANDS

LONGEST_START = 0.25
HEAVY = ("aiohttp", "asyncio", "rich", "nacl", "cryptography", "pineconed.wire", "pineconed.node")


@pytest.mark.exact
@pytest.mark.parametrize(
    "arguments", [["--help"], ["status"], ["peers", "--help"], ["version", "--socket", "/x"]]
)
def test_it_is_done_in_a_quarter_of_a_second(socket_path: Path, arguments: list[str]) -> None:
    """The best of several, because the machine may be busy with other tests."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert piped(socket_path, *arguments).returncode == 0
        took.append(time.perf_counter() - began)
    assert min(took) < LONGEST_START


@pytest.mark.parametrize("arguments", [["--help"], ["status"]])
def test_heavy_libraries_stay_out(socket_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; from pineconed.cli.main import run; run(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(socket_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == "[]\n"


def test_the_help_lists_all_commands(pineconectl: Pineconectl) -> None:
    text = pineconectl("--help").out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert "Exit codes:" in text


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_help_has_examples_and_the_common_options(
    pineconectl: Pineconectl, name: str, flag: str
) -> None:
    result = pineconectl(name, flag)
    assert result.code == 0
    text = result.out
    assert f"Usage: pineconectl {name}" in text
    assert f"\nExamples:\n  pineconectl {name}" in text
    assert "--json" in text
    assert "--socket F" in text
    assert "\\b" not in text


def test_examples_run(pineconectl: Pineconectl) -> None:
    """Every example that is a bare pineconectl command line is at least right usage."""
    for name in COMMANDS:
        examples = pineconectl(name, "--help").out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
        for example in examples:
            words = example.partition("   ")[0].split(" | ")[0].split()
            if words[0] == "pineconectl":
                assert pineconectl(*words[1:]).code != ExitCode.USAGE, example


def test_the_environment_is_below_the_options(socket_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "log-level", "--socket", str(socket_path)],
        env={**os.environ, **environment("/nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "info\n")
