# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the daemon is (sd_notify(3)), if it runs us."""

import importlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress


class ServiceNotifier:
    """Speaks to systemd, by its library where that is installed; says nothing anywhere else.

    `watchdog_seconds` is how long systemd waits for `alive` before it takes the daemon for stuck; None when
    it does not wait for it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._send: Callable[[str], object] | None = None
        self.watchdog_seconds: float | None = None
        if "NOTIFY_SOCKET" in environment:
            self._send = _find_sender(environment["NOTIFY_SOCKET"])
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
        if self._send is not None:
            self._send(state)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """What sd_watchdog_enabled(3) tells: None too when it is meant for another process."""
    wanted, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or process not in {"", str(os.getpid())}:
        return None
    return int(wanted) / 1e6


def _find_sender(address: str) -> Callable[[str], object]:
    """The library's function, or what does the same where the extra `pineconed[systemd]` is not installed."""
    try:
        notify: Callable[[str], object] = importlib.import_module("systemd.daemon").notify
    except ImportError:
        return _plain_sender(address)
    return notify


def _plain_sender(address: str) -> Callable[[str], object]:
    """Sends states to the socket with this address, in which @ stands for the abstract ones' first byte."""
    place = f"\0{address[1:]}" if address.startswith("@") else address
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def send(state: str) -> None:
        with suppress(OSError):
            channel.sendto(state.encode(), place)

    return send
