# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the daemon is (sd_notify(3)), if it runs us and its Python library is installed."""

import importlib
import os
import time
from collections.abc import Mapping
from types import ModuleType

import structlog


class ServiceNotifier:
    """Speaks to systemd by its library (the extra `pineconed[systemd]`); says nothing anywhere else.

    `watchdog_seconds` is how long systemd waits for `alive` before it takes the daemon for stuck; None when
    it does not wait for it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._library: ModuleType | None = None
        self.watchdog_seconds: float | None = None
        if "NOTIFY_SOCKET" in environment:
            self._library = _find_library()
            self.watchdog_seconds = _watchdog_seconds(environment)

    def ready(self) -> None:
        """The interface is up and the listeners listen."""
        self._notify("READY=1")

    def alive(self) -> None:
        """The event loop runs."""
        self._notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """How the node is doing, in a line of `systemctl status`."""
        self._notify(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends that."""
        # sd_notify(3): the moment tells systemd which `ready` is the answer to its request.
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._notify("STOPPING=1")

    def _notify(self, state: str) -> None:
        if self._library is not None:
            self._library.notify(state)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """What sd_watchdog_enabled(3) tells: None too when it is meant for another process."""
    wanted, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or process not in {"", str(os.getpid())}:
        return None
    return int(wanted) / 1e6


def _find_library() -> ModuleType | None:
    try:
        return importlib.import_module("systemd.daemon")
    except ImportError:
        structlog.get_logger().warning(
            "systemd waits to be told that the daemon is ready, but its Python library is missing",
            remedy="install pineconed[systemd], or set Type=exec and WatchdogSec=0 in the unit",
        )
        return None
