# SPDX-License-Identifier: Apache-2.0
"""What `pineconectl completion` prints does in the shells what it should."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pineconed.cli.main import pineconectl as group
from tests.tools import require_tool
from tests.unit.cli.conftest import Pineconectl
from tests.unit.cli.process import environment

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def folder(tmp_path: Path, pineconectl: Pineconectl) -> Path:
    """A folder with the program `pineconectl` and the script for each shell."""
    program = tmp_path / "pineconectl"
    interpreter = shlex.quote(sys.executable)
    program.write_text(
        f'#!/bin/sh\nexec {interpreter} -c "from pineconed.cli.main import main; main()" "$@"\n'
    )
    program.chmod(0o755)
    for shell in SHELLS:
        (tmp_path / shell).write_text(pineconectl("completion", shell).out)
    return tmp_path


def in_shell(folder: Path, *argv: str) -> list[str]:
    """The lines that a shell prints, with our program first in its path."""
    require_tool(argv[0])
    variables = environment("/nowhere")
    variables["PATH"] = f"{folder}:{variables['PATH']}"
    done = subprocess.run(
        argv, env=variables, capture_output=True, text=True, check=True, timeout=30, cwd=folder
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def in_bash(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = " ".join(f"'{word}'" for word in words)
    code = (
        "source bash && complete -p pineconectl > /dev/null && "
        f"COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1} && "
        '_pineconectl_completion pineconectl && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return in_shell(folder, "bash", "--norc", "-c", code)


def test_bash_completes_commands(folder: Path) -> None:
    assert in_bash(folder, "pineconectl", "") == sorted(group.commands)
    assert in_bash(folder, "pineconectl", "re") == ["reload", "remove-peer"]


def test_bash_completes_options_and_their_values(folder: Path) -> None:
    assert in_bash(folder, "pineconectl", "peers", "--lo") == ["--long"]
    assert in_bash(folder, "pineconectl", "peers", "--state", "w") == ["waiting"]
    assert in_bash(folder, "pineconectl", "--json", "log-level", "d") == ["debug"]


def test_bash_completes_what_can_be_waited_for(folder: Path) -> None:
    assert in_bash(folder, "pineconectl", "wait", "--for", "") == ["up", "peer", "tree"]
    assert in_bash(folder, "pineconectl", "wait", "--for", "p") == ["peer"]


def test_fish_completes(folder: Path) -> None:
    offered = in_shell(
        folder, "fish", "--no-config", "-c", "source fish; complete -C 'pineconectl peers --st'"
    )
    assert [line.split("\t")[0] for line in offered] == ["--state"]


def test_zsh_takes_it(folder: Path) -> None:
    assert in_shell(folder, "zsh", "-f", "-n", "zsh") == []
    code = "autoload -U compinit && compinit -D && source ./zsh && print $_comps[pineconectl]"
    assert in_shell(folder, "zsh", "-f", "-c", code) == ["_pineconectl_completion"]
    assert (folder / "zsh").read_text().startswith("#compdef pineconectl\n")


def test_another_shell_is_refused(pineconectl: Pineconectl) -> None:
    result = pineconectl("completion", "tcsh")
    assert result.code == 2
    assert "'bash', 'fish', 'zsh'" in result.err
