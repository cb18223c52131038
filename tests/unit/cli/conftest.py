# SPDX-License-Identifier: Apache-2.0
"""A real admin server over fakes, and pineconectl run against it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pineconed.cli.main import run
from tests.unit.admin.fakes import World, served


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Pineconectl = Callable[..., Result]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def socket_path(world: World, tmp_path: Path) -> Iterator[Path]:
    with served(world, tmp_path / "admin.sock") as path:
        yield path


@pytest.fixture
def pineconectl(
    socket_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Pineconectl:
    """Run a command line in this process; output is captured, so it is a pipe to the command."""
    monkeypatch.setenv("PINECONED_ADMIN_SOCKET", str(socket_path))

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call
