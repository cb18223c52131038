# SPDX-License-Identifier: Apache-2.0
"""What the daemon writes to its standard error, and how.

One line per event: readable text with key=value fields, or one JSON object. Under systemd each line begins
with its priority (`<6>`), which the journal takes off again. Values are escaped, because some of them come
from other nodes: no value can fake a line or steer a terminal.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from pineconed.daemon.config import LogLevel as Level
from pineconed.daemon.config import LogSection

_NUMBERS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES: Mapping[str, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, Any], Any]


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
    """A text stream that loses lines rather than raise: a log that nobody reads must not end the daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if it can be done."""
        with contextlib.suppress(OSError, UnicodeError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if it can be done."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def set_up_logs(section: LogSection, stream: TextIO, environment: Mapping[str, str]) -> LogLevels:
    """Send everything that is logged, also by libraries, to `stream` in the form that `section` asks for."""
    levels = LogLevels(section.level)
    in_journal = is_journal(stream, environment)
    steps: list[Processor] = [levels, structlog.processors.add_log_level]
    if section.format == "json" or not in_journal:
        steps.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    steps += _json_steps() if section.format == "json" else _text_steps(section, stream, environment)
    if in_journal:
        steps.append(_with_priority)
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.PrintLoggerFactory(LossyStream(stream)),  # type: ignore[arg-type]
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
    return f"<{_PRIORITIES.get(level, 2)}>"


class _LibraryLines(logging.Handler):
    """Takes what libraries log by the standard module into our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        level = record.levelname.lower()
        fields = {"logger": record.name, "exc_info": record.exc_info}
        write_line(level if level in _NUMBERS else "error", record.getMessage(), fields)
