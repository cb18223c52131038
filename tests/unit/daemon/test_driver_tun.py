# SPDX-License-Identifier: Apache-2.0
"""The TUN device, events and the timer of a turn."""

import asyncio
import errno
from typing import cast

from structlog.testing import capture_logs

from pineconed.clock import Now
from pineconed.router.events import CloseLink, Event, LinkDown, LinkUp
from pineconed.tun.device import TunDevice
from pineconed.tun.drops import TunDrop
from tests.unit.daemon.driver_bench import Bench, Run, divide_by_zero, read_clock
from tests.unit.device import Device


def test_packets_go_through_the_device_both_ways(run: Run) -> None:
    async def check(bench: Bench) -> None:
        device = Device()
        bench.driver.attach_tun(cast("TunDevice", device))
        for number in range(5):
            device.emit(b"out %d" % number)
        await bench.until(lambda: len(bench.node.packets) == 5)
        assert bench.node.packets[4] == b"out 4"
        link, far = bench.connect()
        bench.node.on_receive = lambda _link, data: bench.node.local.append(memoryview(data))
        far.sendall(b"in")
        await bench.until(lambda: bench.node.received[link])
        assert device.written == [b"in"]
        bench.driver.detach_tun()
        bench.driver.detach_tun()
        bench.node.local.append(b"for nobody")
        far.sendall(b"!")
        await bench.until(lambda: len(bench.node.received[link]) == 3)
        assert device.written == [b"in"]
        device.drops[TunDrop.TUN_REFUSED] += 2
        assert bench.driver.drops() == {"tun_absent": 2, "tun_refused": 2, "tun_offload_unknown": 0}
        device.close()

    run(check)


def test_a_deleted_device_is_let_go_and_told(run: Run) -> None:
    async def check(bench: Bench) -> None:
        lost: list[str] = []
        device = Device()
        bench.driver.attach_tun(cast("TunDevice", device), lost.append)
        device.fail_with = OSError(errno.EBADFD, "File descriptor in bad state")
        with capture_logs() as logs:
            device.emit(b"x")
            await bench.until(lambda: lost)
        assert lost == ["File descriptor in bad state"]
        assert [entry["event"] for entry in logs] == [
            "the TUN device is gone: no packets to and from this host"
        ]
        device.close()

    run(check)


def test_a_fault_with_packets_of_the_host_costs_only_these(run: Run) -> None:
    async def check(bench: Bench) -> None:
        device = Device()
        bench.driver.attach_tun(cast("TunDevice", device))
        bench.node.on_outbound = divide_by_zero
        with capture_logs():
            device.emit(b"x")
            await bench.until(lambda: bench.driver.faults.count)
        bench.node.on_outbound = lambda: None
        device.emit(b"y")
        await bench.until(lambda: bench.node.packets == [b"y"])
        bench.driver.detach_tun()
        device.close()

    run(check)


def test_an_empty_drain_is_no_turn(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver._on_packets()
        device = Device()
        bench.driver.attach_tun(cast("TunDevice", device))
        bench.driver._on_packets()
        assert bench.node.packets == []
        bench.driver.detach_tun()
        device.close()

    run(check)


# ---------------------------------------------------------------- events


def test_close_link_closes_the_stream_and_everybody_hears_of_it(run: Run) -> None:
    async def check(bench: Bench) -> None:
        more: list[Event] = []
        bench.driver.subscribe(more.append)
        link, far = bench.connect()
        await bench.read(far, 5)
        bench.node.on_receive = lambda number, _data: bench.node.close_link(number, "bad magic")
        far.sendall(b"junk")
        await bench.until(lambda: bench.events)
        assert [type(event) for event in bench.events] == [CloseLink, LinkDown]
        assert more == bench.events
        assert bench.node.removed == []
        assert bench.driver.stream_of(link) is None
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""

    run(check)


def test_a_close_link_of_a_link_that_is_gone_does_no_harm(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.node.pending_events.append(CloseLink(99, "late", remote_fault=False))
        _, far = bench.connect()
        await bench.read(far, 5)
        assert bench.events == [CloseLink(99, "late", remote_fault=False)]

    run(check)


def test_no_event_of_a_link_comes_before_its_number(run: Run) -> None:
    """A dialler stores the number that `attach` returns and then waits for the events of that link."""

    async def check(bench: Bench) -> None:
        bench.node.pending_events.append(LinkUp(1, 1, bytes(32)))
        bench.connect()
        assert bench.events == []
        await bench.until(lambda: bench.events)

    run(check)


def test_a_subscriber_may_attach_and_detach(run: Run) -> None:
    async def check(bench: Bench) -> None:
        first, far = bench.connect()
        await bench.read(far, 5)
        second, second_far = bench.connect()
        await bench.read(second_far, 5)

        def react(event: Event) -> None:
            if isinstance(event, LinkDown) and event.link == first:
                bench.driver.detach(second, "no longer wanted")
                bench.driver.detach(first, "gone already")
                bench.connect()

        bench.driver.subscribe(react)
        far.close()
        await bench.until(lambda: len(bench.events) == 2)
        assert [(event.link, event.reason) for event in bench.events if isinstance(event, LinkDown)] == [
            (first, "the peer closed the connection"),
            (second, "no longer wanted"),
        ]
        assert await bench.read(bench._far[-1], 5) == b"hello"

    run(check)


def test_a_failing_subscriber_does_not_hide_events_from_the_others(run: Run) -> None:
    async def check(bench: Bench) -> None:
        def fail(event: Event) -> None:
            raise ValueError(event)

        heard: list[Event] = []
        bench.driver.subscribe(fail)
        bench.driver.subscribe(heard.append)
        link, _ = bench.connect()
        with capture_logs() as logs:
            bench.driver.detach(link, "enough")
            await bench.until(lambda: heard)
        assert len(logs) == 1

    run(check)


def test_closing_ends_every_link_and_reports_it(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver.start()
        links = [bench.connect() for _ in range(3)]
        await bench.until(lambda: not bench.node.take_ready())
        bench.driver.close("the daemon stops")
        assert bench.events == [LinkDown(link, None, None, "the daemon stops") for link, _ in links]
        bench.node.due = 0.0
        await asyncio.sleep(0.01)
        assert bench.node.timers == []

    run(check)


# ---------------------------------------------------------------- the timer


def test_the_timer_fires_at_the_deadline(run: Run) -> None:
    async def check(bench: Bench) -> None:
        goal = read_clock().seconds + 0.05

        def rest(now: Now) -> None:
            if now.seconds >= goal:
                bench.node.due = float(1 << 40)

        bench.node.due = goal
        bench.node.on_timer = rest
        bench.driver.start()
        await bench.until(lambda: bench.node.due > goal)
        assert 0 <= bench.node.timers[-1] - goal < 0.05
        assert len(bench.node.timers) <= 3
        await asyncio.sleep(0.02)
        assert len(bench.node.timers) <= 3

    run(check)


def test_an_earlier_deadline_arms_the_timer_anew(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.driver.start()
        _, far = bench.connect()
        await bench.read(far, 5)

        def hurry(*_: object) -> None:
            bench.node.due = read_clock().seconds + 0.01

        def rest(_: Now) -> None:
            bench.node.due = float(1 << 40)

        bench.node.on_receive, bench.node.on_timer = hurry, rest
        far.sendall(b"!")
        await bench.until(lambda: bench.node.timers)

    run(check)


def test_a_deadline_that_stays_is_tried_again_without_haste(run: Run) -> None:
    """The loop's clock may be coarser than ours, so that a timer finds nothing due yet."""

    async def check(bench: Bench) -> None:
        bench.node.due = read_clock().seconds - 5
        bench.driver.start()
        await asyncio.sleep(0.05)
        assert 2 <= len(bench.node.timers) <= 55

    run(check)
