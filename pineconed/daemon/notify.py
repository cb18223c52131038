# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the start goes, where systemd runs us and its Python library is installed."""

import importlib
import time
from collections.abc import Mapping
from types import ModuleType

import structlog


class ServiceNotifier:
    """Speaks to systemd by its library (the extra `pineconed[systemd]`); says nothing anywhere else."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._library: ModuleType | None = None
        if "NOTIFY_SOCKET" in environment:
            self._library = _find_library()

    def ready(self) -> None:
        """The interface is up and the listeners listen."""
        self._notify("READY=1")

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


def _find_library() -> ModuleType | None:
    try:
        return importlib.import_module("systemd.daemon")
    except ImportError:
        structlog.get_logger().warning(
            "systemd waits to be told that the daemon is ready, but its Python library is missing",
            remedy="install pineconed[systemd], or set Type=exec in the unit",
        )
        return None
