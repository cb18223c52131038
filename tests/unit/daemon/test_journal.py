# SPDX-License-Identifier: Apache-2.0
"""Lines with fields in the journal, and what happens when there is none or it hangs."""

import importlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
import structlog

from pineconed.daemon import logs
from pineconed.daemon.config import LogSection
from pineconed.daemon.journal import Journal, find_journal
from pineconed.daemon.logs import set_up_logs, write_line

KEY = "57" * 32
SEPARATOR = b"\x1f"

SetUp = Callable[[LogSection], object]


class Journald:
    """What takes the lines, at a socket of its own, and the library's function to send them, which waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind(str(path))
        self.receiver.setblocking(False)
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def sendv(self, *fields: bytes) -> None:
        self.sender.sendto(SEPARATOR.join(fields), str(self.path))

    def read(self) -> dict[str, str]:
        """The next line by its fields."""
        fields = self.receiver.recv(65536).decode().split(SEPARATOR.decode())
        return {name: value for name, _, value in (field.partition("=") for field in fields)}

    def close(self) -> None:
        self.receiver.close()
        self.sender.close()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what a test has set up for the whole process."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    daemon = Journald(tmp_path / "journal")
    yield daemon
    daemon.close()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "stderr").open("w+") as file:
        yield file


@pytest.fixture
def set_up(journald: Journald, stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[SetUp]:
    """Log where standard error is the journal."""
    status = os.fstat(stream.fileno())
    environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    sink = Journal(journald.sendv, str(journald.path))
    monkeypatch.setattr(logs, "find_journal", lambda: sink)
    yield lambda section: set_up_logs(section, stream, environment)
    sink.close()


def test_every_field_of_a_line_can_be_asked_for(set_up: SetUp, journald: Journald) -> None:
    set_up(LogSection())
    write_line("warning", "peering down", {"key": KEY, "uri": "tcp://a:1", "port": 3, "reason": "two words"})
    assert journald.read() == {
        "MESSAGE": f"[warning  ] peering down key={KEY} uri=tcp://a:1 port=3 reason='two words'",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "pineconed",
        "EVENT": "peering down",
        "PEER": KEY,
        "URI": "tcp://a:1",
        "PORT": "3",
        "REASON": "two words",
    }


def test_json_is_the_message_if_it_is_asked_for(set_up: SetUp, journald: Journald) -> None:
    set_up(LogSection(format="json"))
    write_line("info", "it happened", {"key": KEY})
    line = journald.read()
    assert line["MESSAGE"].startswith('{"key": "5757')
    assert (line["PEER"], line["EVENT"], line["PRIORITY"]) == (KEY, "it happened", "6")


@pytest.mark.parametrize("hostile", ["a\nPRIORITY=0", "\x1b[2J", "\0", "\ud800"])
def test_what_other_nodes_say_fakes_no_field(set_up: SetUp, journald: Journald, hostile: str) -> None:
    """The library writes each value with its length."""
    set_up(LogSection())
    write_line("info", "x", {"reason": hostile})
    line = journald.read()
    assert line["MESSAGE"].isprintable()
    assert line["PRIORITY"] == "6"
    assert line["REASON"] == hostile.encode("utf-8", "backslashreplace").decode()


def test_nothing_goes_to_standard_error_as_well(set_up: SetUp, stream: TextIO) -> None:
    set_up(LogSection())
    write_line("info", "it happened", {})
    stream.seek(0)
    assert stream.read() == ""


def test_a_journal_that_hangs_holds_nothing_up(set_up: SetUp, journald: Journald) -> None:
    set_up(LogSection())
    for number in range(2000):
        write_line("info", "it happened", {"number": number})
    taken = 0
    try:
        while journald.read():
            taken += 1
    except BlockingIOError:
        write_line("info", "there is room again", {})
    assert journald.read()["LOST_LINES"] == str(2000 - taken)
    write_line("info", "and further", {})
    assert "LOST_LINES" not in journald.read()


def test_a_journal_that_is_gone_ends_nothing(set_up: SetUp, journald: Journald) -> None:
    set_up(LogSection())
    journald.receiver.close()
    write_line("info", "it happened", {})


def test_a_traceback_is_in_the_message(set_up: SetUp, journald: Journald) -> None:
    set_up(LogSection())
    try:
        raise ValueError("wrong")
    except ValueError:
        structlog.get_logger().exception("it failed")
    line = journald.read()
    assert "ValueError: wrong" in line["MESSAGE"]
    assert (line["PRIORITY"], "EXC_INFO" in line) == ("3", False)


# ---------------------------------------------------------------- is there one?


def test_without_the_library_there_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> Any:
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", fail)
    assert find_journal() is None


def test_without_a_journal_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(sendv=print))
    monkeypatch.setattr(Journal.__init__, "__defaults__", (str(tmp_path / "none"),))
    assert find_journal() is None


def test_the_library_has_what_is_asked_of_it() -> None:
    library = pytest.importorskip("systemd.journal")
    library.sendv("MESSAGE=a test of pineconed", "REASON=two\nlines")  # goes nowhere without a journal
