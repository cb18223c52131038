# SPDX-License-Identifier: Apache-2.0
"""The watchdog and the status line while the daemon runs."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pineconed.daemon import service
from pineconed.daemon.notify import ServiceNotifier
from pineconed.daemon.service import ServiceReport, status_line
from pineconed.node.snapshots import NodeStatus
from pineconed.overlay.address import address_of
from pineconed.wire.root import Root

OWN, OTHER = bytes([0x57]) * 32, bytes([0xFE]) * 32


def status(peers: int = 0, root: bytes = OWN) -> NodeStatus:
    return NodeStatus(OWN, address_of(OWN), (), Root(root, 1), None, peers, 1.0, {}, {})


class Notes(ServiceNotifier):
    """Keeps what systemd would be told."""

    def __init__(self, watchdog_seconds: float | None) -> None:
        super().__init__({})
        self.watchdog_seconds = watchdog_seconds
        self.lines: list[str] = []
        self.feeds = 0

    def alive(self) -> None:
        self.feeds += 1

    def status(self, text: str) -> None:
        self.lines.append(text)


def reported(
    notes: Notes, look: Callable[[], tuple[NodeStatus, int]], act: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Have a report run while `act` does."""

    async def live() -> None:
        report = ServiceReport(notes, look)
        report.start()
        await act()
        report.close()

    asyncio.run(live())


def test_the_watchdog_is_fed_well_within_its_time() -> None:
    notes = Notes(0.3)
    reported(notes, lambda: (status(), 0), lambda: asyncio.sleep(0.55))
    assert 4 <= notes.feeds <= 6


def test_a_loop_that_is_stuck_feeds_no_watchdog() -> None:
    notes = Notes(0.06)

    async def hang() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 (what a bug would do)

    reported(notes, lambda: (status(), 0), hang)
    assert notes.feeds == 1


def test_without_a_watchdog_none_is_fed() -> None:
    notes = Notes(None)
    reported(notes, lambda: (status(), 0), lambda: asyncio.sleep(0.05))
    assert notes.feeds == 0


def test_the_status_is_told_when_it_changes_and_not_more_often_than_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "STATUS_SECONDS", 0.05)
    notes, looks = Notes(None), 0

    def look() -> tuple[NodeStatus, int]:
        nonlocal looks
        looks += 1
        return status(peers=looks // 3), 0

    reported(notes, look, lambda: asyncio.sleep(0.33))
    assert 4 <= looks <= 8
    assert [line.split(",")[0] for line in notes.lines][:3] == ["no peers", "1 peer", "2 peers"]
    assert len(notes.lines) == len(set(notes.lines))


@pytest.mark.parametrize(
    ("peers", "down", "root", "line"),
    [
        (0, 0, OWN, "no peers, root this node; this node is fd57:"),
        (1, 0, OTHER, "1 peer, root fdfe:fefe:"),
        (3, 2, OTHER, "3 peers, 2 down, root fdfe:fefe:"),
    ],
)
def test_the_line(peers: int, down: int, root: bytes, line: str) -> None:
    assert status_line(status(peers, root), down).startswith(line)
