# SPDX-License-Identifier: Apache-2.0
"""The bench of the driver on both kinds of event loop, and what a whole daemon lives on."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from pineconed.daemon.config_load import Loaded, Overrides, load
from tests.unit.daemon.driver_bench import Bench
from tests.unit.daemon.life import Lines


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


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def config(tmp_path: Path) -> Loaded:
    """Everything in the test's folder, no TUN device, no LAN discovery."""
    path = tmp_path / "c.toml"
    path.write_text("")
    flags = Overrides(
        key_file=tmp_path / "key", admin_socket=str(tmp_path / "sock"), tun="none", multicast=False
    )
    return load(path, flags)
