# SPDX-License-Identifier: Apache-2.0
"""Faults of the core cost a link, never the daemon."""

import pytest
from structlog.testing import capture_logs

from pineconed.daemon import driver as driver_module
from pineconed.router.events import LinkDown
from pineconed.transport.stream import SocketStream
from tests.unit.daemon.driver_bench import FAULT, Bench, Run, divide_by_zero, read_clock


def test_a_fault_while_receiving_ends_that_link_only(run: Run) -> None:
    async def check(bench: Bench) -> None:
        good, good_far = bench.connect()
        bad, bad_far = bench.connect()
        bench.node.on_receive = lambda link, _data: divide_by_zero() if link == bad else None
        with capture_logs() as logs:
            bad_far.sendall(b"x")
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(bad, None, None, FAULT)]
        assert [bool(entry["exc_info"]) for entry in logs] == [True]
        good_far.sendall(b"still here")
        await bench.until(lambda: bench.node.received[good] == b"still here")

    run(check)


def test_a_fault_that_comes_again_is_counted_and_not_logged(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.node.on_receive = divide_by_zero
        with capture_logs() as logs:
            for number in range(3):
                _, far = bench.connect()
                far.sendall(b"x")
                await bench.until(lambda: bench.driver.faults.count > number)  # noqa: B023  (called at once)
        assert bench.driver.faults.count == 3
        assert len(logs) == 1

    run(check)


def test_a_fault_while_sending_ends_that_link_only(run: Run) -> None:
    async def check(bench: Bench) -> None:
        _, good_far = bench.connect()
        bad, _ = bench.connect()
        bench.node.on_take = lambda link: divide_by_zero() if link == bad else None
        with capture_logs():
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(bad, None, None, FAULT)]
        assert await bench.read(good_far, 5) == b"hello"

    run(check)


def test_a_fault_while_removing_is_still_reported_to_who_waits(run: Run) -> None:
    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        bench.node.on_remove = divide_by_zero
        with capture_logs():
            bench.driver.detach(link, "enough")
            await bench.until(lambda: bench.events)
        assert bench.events == [LinkDown(link, None, None, "enough")]
        bench.node.on_remove = lambda: None

    run(check)


def test_a_stream_that_fails_to_close_is_removed_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = SocketStream.close

    def fail(stream: SocketStream) -> None:
        close(stream)
        divide_by_zero()

    async def check(bench: Bench) -> None:
        link, far = bench.connect()
        await bench.read(far, 5)
        with capture_logs(), monkeypatch.context() as patched:
            patched.setattr(SocketStream, "close", fail)
            bench.driver.detach(link, "enough")
            await bench.until(lambda: bench.events)
        assert bench.node.removed == [(link, "enough")]
        assert bench.driver.faults.count == 1

    run(check)


def test_a_fault_in_the_timer_is_tried_again_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "FAULT_PAUSE", 0.03)

    async def check(bench: Bench) -> None:
        bench.node.due = read_clock().seconds
        bench.node.on_timer = divide_by_zero
        with capture_logs() as logs:
            bench.driver.start()
            await bench.until(lambda: len(bench.node.timers) >= 3)
        assert bench.node.timers[2] - bench.node.timers[1] >= 0.025
        assert len(logs) == 1

    run(check)
