# SPDX-License-Identifier: Apache-2.0
"""What the daemon writes to its standard error, and how.

One line per event: readable text with key=value fields, or one JSON object. Under systemd they go to the
journal with all their fields; without systemd's library each line begins with its priority (`<6>`), which
the journal takes off again. Values are escaped, because some of them come
from other nodes: no value can fake a line or steer a terminal. When nobody reads, lines are lost and counted.
"""

import logging
import os
import select
from collections import Counter
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

from pineconed.daemon.config import LogLevel as Level
from pineconed.daemon.config import LogSection
from pineconed.daemon.journal import PRIORITIES, EventDict, Fields, Processor, find_journal
from pineconed.daemon.time_source import read_now
from pineconed.rate import TokenBucket

LIBRARY_LINES_PER_SECOND = 0.2
LIBRARY_LINES_BURST = 20.0
"""How many lines each library may write, and how many at once after a quiet time."""

_NUMBERS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_PIECE = 1024
"""Characters written at once: at most 4,096 bytes, which a pipe takes without a wait if it takes any."""


class LogLevels:
    """The level in force; it can be changed while the daemon runs."""

    def __init__(self, level: Level) -> None:
        self._level = level

    @property
    def level(self) -> Level:
        """Lines below this level are not written."""
        return self._level

    def set_level(self, level: Level) -> None:
        """Write lines of this level and above from now on."""
        self._level = level

    def wants(self, level: str) -> bool:
        """Whether lines of this level are written now."""
        return _NUMBERS.get(level, 50) >= _NUMBERS[self._level]

    def __call__(self, _: Any, method: str, event: EventDict) -> EventDict:
        """As the first step of every line: drop it if it is below the level."""
        if not self.wants(method):
            raise structlog.DropEvent
        return event


class LossyStream:
    """A text stream that loses lines rather than raise or wait: a log that nobody reads must not stop us.

    It stays as it is, blocking, since other processes may share it; it is asked before each write whether it
    takes some. As a step of every line it adds how many were lost just before.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._writable = _poll(stream)
        self._cut = False
        self._lost = 0

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        """Tell with the next line of those that were lost."""
        if self._lost:
            event["lost_lines"] = self._lost
        return event

    def write(self, text: str) -> int:
        """Write a line, as far as it can be done at once."""
        if self._cut:
            text = f"\n{text}"
        for start in range(0, len(text), _PIECE):
            if not self._write_now(text[start : start + _PIECE]):
                self._cut = self._cut or start > 0
                self._lost += 1
                return start
        self._cut, self._lost = False, 0
        return len(text)

    def flush(self) -> None:
        """Nothing to do: `write` keeps nothing back."""

    def _write_now(self, piece: str) -> bool:
        try:
            if self._writable is not None and not self._writable.poll(0):
                return False
            self._stream.write(piece)
            self._stream.flush()
        except (OSError, UnicodeError):
            return False
        return True


def _poll(stream: TextIO) -> "select.poll | None":
    """What tells whether a write would wait; None for what is not a file of the system."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return None
    return poll


def set_up_logs(section: LogSection, stream: TextIO, environment: Mapping[str, str]) -> LogLevels:
    """Send everything that is logged, also by libraries, to `stream` in the form that `section` asks for."""
    levels = LogLevels(section.level)
    in_journal = is_journal(stream, environment)
    journal = find_journal() if in_journal else None
    lossy = LossyStream(stream)
    steps: list[Processor] = [levels, structlog.processors.add_log_level, journal or lossy]
    if section.format == "json" or not in_journal:
        steps.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    render = _json_steps() if section.format == "json" else _text_steps(section, stream, environment)
    if journal is not None:
        steps.append(Fields(render))
    else:
        steps += [*render, _with_priority] if in_journal else render
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.WriteLoggerFactory(lossy) if journal is None else lambda *_: journal,  # type: ignore[arg-type]
    )
    logging.basicConfig(handlers=[_LibraryLines()], level=logging.WARNING, force=True)
    return levels


def write_line(level: str, event: str, fields: Mapping[str, Any]) -> None:
    """Log one line."""
    getattr(structlog.get_logger(), level)(event, **fields)


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` is the one that systemd has connected to its journal (sd_journal_print(3))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _json_steps() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _text_steps(section: LogSection, stream: TextIO, environment: Mapping[str, str]) -> list[Processor]:
    on_terminal = section.format == "auto" and stream.isatty()
    colours = on_terminal and "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
    renderer = structlog.dev.ConsoleRenderer(
        colors=colours,
        pad_event_to=30 if on_terminal else 0,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_escape, renderer]


def _escape(_: Any, __: str, event: EventDict) -> EventDict:
    """Write out what cannot be printed, such as line ends, as Python would; what there is not is "none"."""
    return {key: _readable(value) for key, value in event.items()}


def _readable(value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        return repr(value)[1:-1]
    return "none" if value is None else value


def _with_priority(_: Any, method: str, line: str) -> str:
    return priority(method) + line


def priority(level: str) -> str:
    """What a line of this level begins with for the journal."""
    return f"<{PRIORITIES.get(level, 2)}>"


class _LibraryLines(logging.Handler):
    """Takes what libraries log by the standard module into our own log.

    Other nodes can cause some of it, such as by packets that a library does not understand, so each library
    has a rate; the next line after that tells how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buckets: dict[str, TokenBucket] = {}
        self._left_out: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless its library has written many just before."""
        library = record.name.partition(".")[0]
        bucket = self._buckets.setdefault(library, TokenBucket(LIBRARY_LINES_PER_SECOND, LIBRARY_LINES_BURST))
        if bucket.spend(1, read_now().seconds):
            self._left_out[library] += 1
            return
        level = record.levelname.lower()
        fields: dict[str, Any] = {"logger": record.name, "exc_info": record.exc_info}
        if left_out := self._left_out.pop(library, 0):
            fields["left_out"] = left_out
        write_line(level if level in _NUMBERS else "error", record.getMessage(), fields)
