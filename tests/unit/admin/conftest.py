# SPDX-License-Identifier: Apache-2.0
"""A world of fakes, its backend, and the socket of a real server over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pineconed.admin.handlers import AdminBackend
from tests.unit.admin.fakes import World, served


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def backend(world: World) -> AdminBackend:
    return world.backend()


@pytest.fixture
def socket_path(world: World, tmp_path: Path) -> Iterator[Path]:
    with served(world, tmp_path / "admin.sock") as path:
        yield path
