# SPDX-License-Identifier: Apache-2.0
"""Watches the network interfaces of this host for changes.

One thread blocks on a netlink socket. Whatever that says, the thread lists everything anew: a message that
was lost or that comes out of order can do no harm, and a list every ten seconds makes up for a kernel that
says nothing. What changed is handed over to the loop.
"""

import asyncio
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable

import structlog

from pineconed.discovery.interfaces import Interface, InterfaceChange, change_of

RESCAN = 10.0
"""Seconds after which the interfaces are listed anew although the kernel said nothing."""

RETRY = 1.0
"""Seconds after which they are listed anew when that failed."""

SETTLE = 0.05
"""Seconds to wait for what else the kernel has to say before its news are looked into."""

REST = 10
"""After listing, the thread rests this many times as long as that took; a host may have 1,000 interfaces."""

_FIRST_SCAN = 5.0
_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""

_log = structlog.get_logger(__name__)


class InterfaceWatcher:
    """Tells its subscribers, in the loop, whenever an interface or address comes, changes or goes.

    `scan` lists the interfaces; it runs in the watcher's thread and may block. When it fails the last list
    stands, the log tells once, and it is tried again.
    """

    def __init__(self, scan: Callable[[], tuple[Interface, ...]], rescan: float = RESCAN) -> None:
        self._scan = scan
        self._rescan = rescan
        self._loop = asyncio.get_running_loop()
        self._subscribers: list[Callable[[InterfaceChange], None]] = []
        self._current: tuple[Interface, ...] = ()
        self._failed = False
        self._listed: asyncio.Future[None] = self._loop.create_future()
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name="interfaces", daemon=True)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces as last seen, by index; empty before `start`."""
        return self._current

    def subscribe(self, callback: Callable[[InterfaceChange], None]) -> None:
        """Call this at every change; at once with all there is, if that is known already."""
        self._subscribers.append(callback)
        if self._current:
            callback(change_of((), self._current))

    async def start(self) -> None:
        """Watch from now on; returns when the interfaces were listed once, or after 5 s without."""
        self._thread.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listed), _FIRST_SCAN)

    async def close(self) -> None:
        """End the thread. Nobody is told of anything after this."""
        self._subscribers.clear()
        os.close(self._stop_write)
        if self._thread.ident is None:
            os.close(self._stop_read)
        else:
            await asyncio.to_thread(self._thread.join, 1.0)

    # ---------------------------------------------------------------- in the thread

    def _watch(self) -> None:
        with contextlib.closing(_Stop(self._stop_read)) as stop:
            try:
                news = _news()
            except OSError as error:  # a sandbox; listing them would fail too
                self._hand_over(error)
            else:
                with news:
                    self._follow(news, stop)

    def _follow(self, news: socket.socket, stop: "_Stop") -> None:
        while not stop.asked:
            began = time.monotonic()
            listed = self._look()
            stop.wait(REST * (time.monotonic() - began) if listed else RETRY)
            if listed:
                stop.wait(self._rescan, news.fileno())
                stop.wait(SETTLE)
            _drain(news)

    def _look(self) -> bool:
        """List the interfaces and hand the list over; whether that went well."""
        found: tuple[Interface, ...] | Exception
        try:
            found = self._scan()
        except Exception as error:  # noqa: BLE001  (logged; without this thread nobody would hear of a network)
            found = error
        self._hand_over(found)
        return not isinstance(found, Exception)

    def _hand_over(self, found: tuple[Interface, ...] | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed while we looked
            self._loop.call_soon_threadsafe(self._take, found)

    # ---------------------------------------------------------------- in the loop

    def _take(self, found: tuple[Interface, ...] | Exception) -> None:
        if not self._listed.done():
            self._listed.set_result(None)
        failed_before, self._failed = self._failed, isinstance(found, Exception)
        if isinstance(found, Exception):
            if not failed_before:
                _tell(found)
        elif found != self._current:
            change = change_of(self._current, found)
            self._current = found
            for callback in list(self._subscribers):
                callback(change)


class _Stop:
    """The end of a pipe that is readable when the thread has to end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.asked = False

    def wait(self, seconds: float, also: int | None = None) -> None:
        """Wait so long, or until the thread has to end, or until this other descriptor is readable."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if also is not None:
            poll.register(also, select.POLLIN)
        if not self.asked:
            self.asked = any(ready == self._descriptor for ready, _ in poll.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self._descriptor)


def _news() -> socket.socket:
    """A socket on which the kernel tells of changes."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        news.bind((0, _GROUPS))
    except OSError:
        news.close()
        raise
    return news


def _tell(error: Exception) -> None:
    if isinstance(error, OSError):
        _log.warning("cannot list the network interfaces", reason=str(error), retry_seconds=RETRY)
    else:
        _log.error("internal fault in listing the network interfaces, please report it", exc_info=error)


def _drain(news: socket.socket) -> None:
    """Throw away what the kernel said; that it said too much (ENOBUFS) is no matter either."""
    while True:
        try:
            news.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue
