# SPDX-License-Identifier: Apache-2.0
"""The bench of the driver, on both kinds of event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.unit.daemon.driver_bench import Bench


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]:
    """Run a check on a bench of its own, once per kind of loop."""

    async def on_bench(check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        bench = Bench()
        try:
            await check(bench)
        finally:
            bench.close()

    def run_check(check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(on_bench(check))

    return run_check
