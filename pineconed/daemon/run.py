# SPDX-License-Identifier: Apache-2.0
"""The process around a daemon: logs, event loop and signals."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from pineconed.daemon.app import Daemon
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.descriptors import allow_descriptors
from pineconed.daemon.logs import set_up_logs
from pineconed.daemon.notify import ServiceNotifier


def run_until_stopped(loaded: Loaded, read: Callable[[], Loaded]) -> None:
    """Run a daemon until SIGTERM or SIGINT; SIGHUP has it `read` again. StartError when it cannot run."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log_levels = set_up_logs(loaded.config.log, sys.stderr, os.environ)
    notifier = ServiceNotifier(os.environ)
    allow_descriptors()

    async def live() -> None:
        daemon = Daemon(loaded, log_levels, notifier, read)
        _stop_on_signals(daemon.stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
        await daemon.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(live())


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """Stop at the first signal; a second one ends the process as if it were not handled."""
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_once)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 (a library that may be missing)
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
