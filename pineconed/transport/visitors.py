# SPDX-License-Identifier: Apache-2.0
"""Connections that were accepted and have not come in yet, in a task each."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pineconed.transport.gate import Visit

ResultT = TypeVar("ResultT")


class Visitors:
    """Those of one listener. `closing` tells that they are sent away because it is closed."""

    def __init__(self) -> None:
        self.closing = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def hear(
        self,
        visit: Visit,
        hearing: Coroutine[Any, Any, ResultT],
        decide: Callable[[asyncio.Task[ResultT]], None],
    ) -> None:
        """Hear a visitor out; `decide` gets the task at its end, also if that was before its first step.

        So it is `decide` that closes what is left over, as a task that never began cannot.
        """
        task = asyncio.get_running_loop().create_task(hearing)
        visit.give_way = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(decide)

    async def close(self) -> None:
        """Send everybody away."""
        self.closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
