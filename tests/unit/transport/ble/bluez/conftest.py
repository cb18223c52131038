# SPDX-License-Identifier: Apache-2.0
"""How a scene is played."""

import asyncio
from pathlib import Path

import pytest

from pineconed.transport.ble.bluez import adapters, backend, peripheral, scanner, session
from tests.unit.transport.ble.bluez.bench import Bench, Play, Scene


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Play a scene in a loop of its own; everything has to be gone in the end."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    monkeypatch.setattr(adapters, "CLASS_FOLDER", tmp_path / "class")
    monkeypatch.setattr(backend, "LOOK", 0.05)
    monkeypatch.setattr(backend, "why_no_sockets", str)
    monkeypatch.setattr(scanner, "LOOK", 0.05)
    monkeypatch.setattr(scanner, "BETWEEN_FAILURES", 0.01)
    monkeypatch.setattr(session, "GRACE", 0.05)
    monkeypatch.setattr(peripheral, "SETTLING", 0.01)
    monkeypatch.setattr(peripheral, "BETWEEN_RENEWALS", 0.01)

    async def staged(scene: Scene) -> None:
        bench = Bench(tmp_path)
        try:
            await scene(bench)
        finally:
            await bench.end()
        await asyncio.sleep(0.01)
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("bluetooth")]
        assert left == []

    return lambda scene: asyncio.run(staged(scene))
