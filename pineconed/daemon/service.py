# SPDX-License-Identifier: Apache-2.0
"""What systemd hears while the daemon runs: that the event loop does, and how the node is doing."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv6Address

from pineconed.daemon.notify import ServiceNotifier
from pineconed.node.snapshots import NodeStatus
from pineconed.overlay.address import address_of

STATUS_SECONDS = 5.0
"""Between two looks at the node: other nodes can change what is told, but not make it be told more often."""

_FEEDS = 3
"""How often the watchdog is fed in the time that it waits."""


class ServiceReport:
    """Reports from the loop that carries the packets, so that a loop that is stuck reports nothing.

    `look` gives the node's status and how many configured peers are down.
    """

    def __init__(self, notifier: ServiceNotifier, look: Callable[[], tuple[NodeStatus, int]]) -> None:
        self._notifier = notifier
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._told = ""
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Report now and from now on."""
        self._tell()
        if self._notifier.watchdog_seconds is not None:
            self._feed(self._notifier.watchdog_seconds / _FEEDS)

    def close(self) -> None:
        """Report no longer."""
        for timer in self._timers.values():
            timer.cancel()

    def _feed(self, pause: float) -> None:
        self._notifier.alive()
        self._timers["watchdog"] = self._loop.call_later(pause, self._feed, pause)

    def _tell(self) -> None:
        self._timers["status"] = self._loop.call_later(STATUS_SECONDS, self._tell)
        text = status_line(*self._look())
        if text != self._told:
            self._told = text
            self._notifier.status(text)


def status_line(status: NodeStatus, peers_down: int) -> str:
    """The line of `systemctl status`, such as "3 peers, 1 down, root fd12:..."."""
    peers = "1 peer" if status.peers == 1 else f"{status.peers or 'no'} peers"
    down = f", {peers_down} down" if peers_down else ""
    own = status.root.public_key == status.public_key
    root = "this node" if own else str(IPv6Address(address_of(status.root.public_key)))
    return f"{peers}{down}, root {root}; this node is {IPv6Address(status.address)}"
