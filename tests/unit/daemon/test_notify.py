# SPDX-License-Identifier: Apache-2.0
"""What systemd is told, where there is systemd."""

import importlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pineconed.daemon.notify import ServiceNotifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd waits."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(str(path))
        waiting.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield waiting


def test_systemd_hears_of_the_start_and_the_end(manager: socket.socket) -> None:
    pytest.importorskip("systemd.daemon")
    notifier = ServiceNotifier({"NOTIFY_SOCKET": "set"})
    notifier.ready()
    notifier.stopping()
    assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_systemd_hears_of_a_reload(manager: socket.socket) -> None:
    pytest.importorskip("systemd.daemon")
    notifier = ServiceNotifier({"NOTIFY_SOCKET": "set"})
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready()
    state, moment = manager.recv(100).split(b"\n")
    assert (state, manager.recv(100)) == (b"RELOADING=1", b"READY=1")
    assert before <= int(moment.removeprefix(b"MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_without_systemd_nothing_is_said_nor_loaded(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda _: pytest.fail("loaded"))
    ServiceNotifier({}).ready()
    with pytest.raises(BlockingIOError):
        manager.recv(100)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the channel lives as long as the process
@pytest.mark.parametrize("abstract", [False, True])
def test_without_the_library_systemd_hears_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool
) -> None:
    def fail(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", fail)
    address = f"@pineconed-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(address.replace("@", "\0", 1) if abstract else address)
        notifier = ServiceNotifier({"NOTIFY_SOCKET": address})
        notifier.ready()
        notifier.status("3 peers")
        assert [waiting.recv(100), waiting.recv(100)] == [b"READY=1", b"STATUS=3 peers"]
    notifier.stopping()  # nobody is there, which ends nothing


def test_systemd_hears_that_the_loop_runs_and_how_the_node_is(manager: socket.socket) -> None:
    pytest.importorskip("systemd.daemon")
    notifier = ServiceNotifier({"NOTIFY_SOCKET": "set"})
    notifier.alive()
    notifier.status("3 peers")
    assert [manager.recv(100), manager.recv(100)] == [b"WATCHDOG=1", b"STATUS=3 peers"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_told_by_the_environment(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceNotifier({"NOTIFY_SOCKET": "set", **environment}).watchdog_seconds == seconds
