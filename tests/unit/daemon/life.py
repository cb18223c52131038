# SPDX-License-Identifier: Apache-2.0
"""A daemon that lives inside the test's own process."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pineconed.admin.client import AdminClient
from pineconed.daemon.app import Daemon
from pineconed.daemon.config import Config
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.logs import LogLevels
from pineconed.daemon.notify import ServiceNotifier
from tests.unit.waiting import until

Lines = list[Any]
Loops = Callable[[], asyncio.AbstractEventLoop]


class Notes(ServiceNotifier):
    """Keeps what systemd would be told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []
        self.status_lines: list[str] = []

    def ready(self) -> None:
        self.told.append("ready")

    def stopping(self) -> None:
        self.told.append("stopping")

    def status(self, text: str) -> None:
        self.status_lines.append(text)


def changed(loaded: Loaded, **sections: Any) -> Loaded:
    """The configuration with whole lists, or with keys of sections, replaced."""
    config: Config = loaded.config
    for name, value in sections.items():
        if isinstance(value, Mapping):
            value = msgspec.structs.replace(getattr(config, name), **value)  # noqa: PLW2901
        config = msgspec.structs.replace(config, **{name: value})
    return loaded._replace(config=config)


def live(
    loaded: Loaded,
    act: Callable[[Daemon], Coroutine[Any, Any, object]] | None = None,
    loops: Loops = asyncio.new_event_loop,
    seen: list[str] | None = None,
    later: Loaded | None = None,
) -> list[str]:
    """Run a daemon; once it is ready do `act`, then stop it. What systemd was told, its status in `seen`.

    `later` is what a reload reads, if that is something else.
    """
    notes = Notes()
    notes.status_lines = notes.status_lines if seen is None else seen

    async def whole_life() -> None:
        daemon = Daemon(loaded, LogLevels("info"), notes, lambda: later or loaded)
        living = asyncio.create_task(daemon.run())
        await until(lambda: "ready" in notes.told or living.done())
        if act is not None and not living.done():
            await act(daemon)
        daemon.stop()
        await living

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(asyncio.wait_for(whole_life(), 20))
    return notes.told


def lines_of(lines: Lines, event: str) -> list[Any]:
    return [line for line in lines if line["event"] == event]


async def ask(path: Path, call: str) -> bytes:
    return await asyncio.to_thread(AdminClient(str(path)).get, call)
