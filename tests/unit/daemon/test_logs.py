# SPDX-License-Identifier: Apache-2.0
"""The form of log lines: on a terminal, in a file, in the journal, as JSON."""

import io
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from pineconed.clock import Now
from pineconed.daemon import logs
from pineconed.daemon.config import LogSection
from pineconed.daemon.logs import LogLevels, LossyStream, set_up_logs, write_line
from pineconed.daemon.time_source import read_now

NOWHERE: Mapping[str, str] = {}
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what a test has set up for the whole process."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[tuple[TextIO, dict[str, str]]]:
    """A stream and the environment in which it is the journal."""
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        yield stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def logged(stream: io.StringIO, section: LogSection, write: Callable[[], object]) -> str:
    set_up_logs(section, stream, NOWHERE)
    write()
    return stream.getvalue()


def warn() -> None:
    write_line("warning", "it happened", {"peer": "a", "reason": "two words", "count": 3, "none": None})


def test_a_line_of_text_has_time_level_event_and_fields() -> None:
    line = logged(io.StringIO(), LogSection(), warn)
    fields = "peer=a reason='two words' count=3 none=none"
    assert re.fullmatch(rf"{STAMP} \[warning  \] it happened {fields}\n", line)


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[" in logged(Terminal(), LogSection(), warn)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_none_where_they_are_not_wanted(environment: dict[str, str]) -> None:
    stream = Terminal()
    set_up_logs(LogSection(), stream, environment)
    warn()
    assert "\x1b[" not in stream.getvalue()


def test_plain_text_has_no_colours_even_on_a_terminal() -> None:
    assert "\x1b[" not in logged(Terminal(), LogSection(format="text"), warn)


def test_json_is_one_object_a_line() -> None:
    line = logged(Terminal(), LogSection(format="json"), warn)
    event = json.loads(line)
    assert re.fullmatch(STAMP, event.pop("timestamp"))
    assert event == {
        "event": "it happened",
        "level": "warning",
        "peer": "a",
        "reason": "two words",
        "count": 3,
        "none": None,
    }


def test_the_journal_gets_priorities_and_no_time(journal: tuple[TextIO, dict[str, str]]) -> None:
    stream, environment = journal
    set_up_logs(LogSection(level="debug"), stream, environment)
    for level in ("debug", "info", "warning", "error"):
        write_line(level, "it happened", {})
    stream.seek(0)
    assert stream.read().splitlines() == [
        "<7>[debug    ] it happened",
        "<6>[info     ] it happened",
        "<4>[warning  ] it happened",
        "<3>[error    ] it happened",
    ]


def test_the_journal_of_somebody_else_is_not_ours(journal: tuple[TextIO, dict[str, str]]) -> None:
    stream, _ = journal
    set_up_logs(LogSection(), stream, {"JOURNAL_STREAM": "1:2"})
    warn()
    stream.seek(0)
    assert not stream.read().startswith("<")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_can_fake_a_line_or_steer_a_terminal(form: str) -> None:
    section = LogSection(format="json" if form == "json" else "text")
    hostile = "a\n2026 [error] fake\r\x1b[2J\x9b31m\u202e"
    text = logged(io.StringIO(), section, lambda: write_line("info", "x", {"reason": hostile, "r": "\x1b"}))
    assert text.count("\n") == 1
    assert text.removesuffix("\n").isprintable()


def test_a_traceback_is_whole_but_shows_no_variables() -> None:
    def fail() -> None:
        private = "do not show"
        try:
            raise ValueError(len(private))
        except ValueError:
            structlog.get_logger().exception("it failed")

    text = logged(io.StringIO(), LogSection(), fail)
    assert "ValueError: 11" in text
    assert text.count("do not show") == 0
    line = logged(io.StringIO(), LogSection(format="json"), fail)
    assert "ValueError: 11" in json.loads(line)["exception"]


def test_the_level_can_be_changed_while_running() -> None:
    stream = io.StringIO()
    levels = set_up_logs(LogSection(level="warning"), stream, NOWHERE)
    log = structlog.get_logger()
    log.info("one")
    levels.set_level("debug")
    log.debug("two")
    levels.set_level("error")
    log.warning("three")
    log.critical("four")
    assert [line.split("] ")[1].strip() for line in stream.getvalue().splitlines()] == ["two", "four"]


@pytest.mark.parametrize(
    ("level", "wanted"), [("debug", False), ("info", True), ("error", True), ("odd", True)]
)
def test_it_is_known_which_levels_are_written(level: str, wanted: bool) -> None:
    levels = LogLevels("info")
    assert levels.wants(level) == wanted
    assert levels.level == "info"


def test_a_library_cannot_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter() -> None:
        for _ in range(1000):
            logging.getLogger("one.part").warning("not understood")
        logging.getLogger("another").warning("quiet so far")
        later = read_now().seconds + 6
        monkeypatch.setattr(logs, "read_now", lambda: Now(later, 0))
        logging.getLogger("one.part").warning("not understood")

    lines = logged(io.StringIO(), LogSection(), chatter).splitlines()
    assert sum("not understood" in line for line in lines) == int(logs.LIBRARY_LINES_BURST) + 1
    assert sum("quiet so far" in line for line in lines) == 1
    assert "left_out=980" in lines[-1]


def test_what_libraries_log_is_in_our_log_too() -> None:
    def complain() -> None:
        logging.getLogger("another.package").warning("lost %s", "it")
        logging.getLogger("another.package").log(35, "odd level")
        logging.getLogger("another.package").info("chatter")

    lines = logged(io.StringIO(), LogSection(), complain).splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "[warning  ] lost it [another.package]",
        "[error    ] odd level [another.package]",
    ]


def test_a_log_that_nobody_reads_ends_nothing() -> None:
    set_up_logs(LogSection(), Broken(), NOWHERE)
    warn()


def test_what_the_stream_cannot_encode_is_lost() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert LossyStream(raw).write("é") == 0
    assert LossyStream(raw).write("e") == 1


@pytest.fixture(
    params=[os.pipe, lambda: [end.detach() for end in socket.socketpair()]], ids=["pipe", "socket"]
)
def unread(request: pytest.FixtureRequest) -> Iterator[tuple[int, TextIO]]:
    """The descriptor at which a log could be read, and the log."""
    far, near = request.param()
    with open(near, "w", encoding="utf-8", buffering=1) as stream:  # noqa: PTH123  (a descriptor)
        yield far, stream
    os.close(far)


def test_a_log_that_nobody_reads_holds_nothing_up(unread: tuple[int, TextIO]) -> None:
    far, stream = unread
    set_up_logs(LogSection(format="json"), stream, NOWHERE)

    def flood() -> None:
        for number in range(5000):
            write_line("info", "it happened", {"number": number, "long": "\u20ac" * (number % 3000)})

    writer = threading.Thread(target=flood, daemon=True)
    writer.start()
    writer.join(20)
    assert not writer.is_alive()
    read = b""
    os.set_blocking(far, False)
    with suppress(BlockingIOError):
        while part := os.read(far, 1 << 20):
            read += part
    write_line("info", "there is room again", {})
    *_, cut_or_whole, last = (read + os.read(far, 4096)).decode().splitlines()
    told = json.loads(last)
    assert told["event"] == "there is room again"
    assert 0 < told["lost_lines"] < 5000
    assert cut_or_whole.startswith('{"number"')
    write_line("info", "and further", {})
    assert "lost_lines" not in json.loads(os.read(far, 4096))
