# SPDX-License-Identifier: Apache-2.0
"""The pumps of a daemon. They outlive listeners and dialler, since peerings do. Needs no aiohttp."""

import asyncio
from collections.abc import Coroutine

CLOSE_SECONDS = 0.5
"""How long pumps may still carry what nodes say at their end."""


class RunningPumps:
    """Keeps the tasks of the pumps."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, pump: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run a pump until it ends by itself."""
        task = asyncio.get_running_loop().create_task(pump, name=f"pump {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Wait a moment for pumps whose streams are closed, and end all."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
