# SPDX-License-Identifier: Apache-2.0
"""Lines for systemd's journal with every field by its name, so that `journalctl PEER=...` finds them.

This needs systemd's Python library (the extra `pineconed[systemd]`); without it, lines go to standard error.
"""

import importlib
import select
import socket
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

SOCKET = "/run/systemd/journal/socket"
"""Where the journal takes lines with fields."""

PRIORITIES: Mapping[str, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_NAMES: Mapping[str, str] = {"key": "PEER"}
"""Fields that the journal knows by another name than in upper case."""

_NO_FIELDS = frozenset({"level", "timestamp", "exc_info"})

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, Any], Any]
Sendv = Callable[..., None]
Call = tuple[tuple[list[bytes]], dict[str, Any]]
"""Arguments for `Journal.send`, as structlog takes them from a last step."""


class Journal:
    """Sends lines, but never waits: one that the journal cannot take at once is lost and counted.

    The library would wait, so a connection of our own to the same socket, `SOCKET`, is asked first. As a step
    of every line it adds how many were lost just before.
    """

    def __init__(self, sendv: Sendv, path: str = SOCKET) -> None:
        self._sendv = sendv
        self._probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._probe.connect(path)
        except OSError:
            self._probe.close()
            raise
        self._room = select.poll()
        self._room.register(self._probe, select.POLLOUT)
        self._lost = 0

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        """Tell with the next line of those that were lost."""
        if self._lost:
            event["lost_lines"] = self._lost
        return event

    def send(self, fields: Sequence[bytes]) -> None:
        """Send one line, as `NAME=value` each."""
        try:
            if self._room.poll(0) != [(self._probe.fileno(), select.POLLOUT)]:
                raise BlockingIOError
            self._sendv(*fields)
        except OSError:
            self._lost += 1
            return
        self._lost = 0

    def close(self) -> None:
        """Ask no longer; nothing is sent after this."""
        self._probe.close()

    debug = info = warning = error = critical = send


class Fields:
    """As the last step of every line: makes its text by the steps of `render`, and all of its fields."""

    def __init__(self, render: Sequence[Processor]) -> None:
        self._render = render

    def __call__(self, logger: Any, method: str, event: EventDict) -> Call:
        """The whole line."""
        fields = [
            f"{_NAMES.get(name, name.upper())}={value}"
            for name, value in event.items()
            if name not in _NO_FIELDS and value is not None
        ]
        text: Any = dict(event)
        for step in self._render:
            text = step(logger, method, text)
        own = [f"MESSAGE={text}", f"PRIORITY={PRIORITIES.get(method, 2)}", "SYSLOG_IDENTIFIER=pineconed"]
        return ([field.encode("utf-8", "backslashreplace") for field in (*own, *fields)],), {}


def find_journal() -> Journal | None:
    """The journal of this host, if there is one and the library for it."""
    try:
        return Journal(importlib.import_module("systemd.journal").sendv)
    except (ImportError, OSError):
        return None
