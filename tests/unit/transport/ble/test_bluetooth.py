# SPDX-License-Identifier: Apache-2.0
"""What drives a backend: an adapter that comes and goes, steps that fail or hang, channels."""

import asyncio
import dataclasses
import socket
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from pineconed.router.events import CloseLink, LinkAnnounced, LinkDown, LinkUp
from pineconed.transport.ble import bluetooth
from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState, BleError, Channel, Sighting
from pineconed.transport.ble.bluetooth import BleSettings, Bluetooth, RadioSnapshot
from pineconed.transport.ble.choose import open_backend
from pineconed.transport.ble.policy import MAX_STRANGERS, BlePolicy, Dial
from pineconed.transport.ble.sightings import Fate
from pineconed.transport.ble.value import Value, encode_value
from tests.unit.waiting import until

LOW, OWN, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
HERE, THERE = (BleAddress(f"7A:00:00:00:00:0{number}", AddressKind.RANDOM) for number in (1, 2))
READY = AdapterReport(AdapterState.READY, "hci0", "5C:F3:70:00:00:01")
OFF = AdapterReport(AdapterState.OFF, "hci0", None, "it is powered off")
ON = BleSettings(on=True, adapter="hci0")


class FakeBackend:
    """Does as it is told; a test says what `read` and `dial` give, and which steps fail."""

    def __init__(self) -> None:
        self.report: Callable[[AdapterReport], None] = lambda _: None
        self.accept: Callable[[Channel], None] = lambda _: None
        self.seen: Callable[[Sighting], None] = lambda _: None
        self.values: dict[BleAddress, bytes | Exception | None] = {}
        self.far: list[socket.socket] = []
        self.calls: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.advertising = False
        self.scanning = False
        self.value = b""
        self.closed = False
        self.hangs = False

    def start(self, report: Callable[[AdapterReport], None]) -> None:
        self.report = report

    def becomes(self, report: AdapterReport) -> None:
        if report.state is not AdapterState.READY:
            self.advertising = self.scanning = False
        self.report(report)

    async def close(self) -> None:
        self.closed = True

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.faults:
            raise self.faults[name]

    async def listen(self, accept: Callable[[Channel], None]) -> int:
        self._call("listen")
        if self.hangs:
            await asyncio.sleep(3600)
        self.accept = accept
        return 0x83

    async def advertise(self, value: bytes) -> None:
        self._call("advertise")
        self.advertising, self.value = True, value

    async def stop_advertising(self) -> None:
        self._call("stop_advertising")
        self.advertising = False

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        self._call("scan")
        self.scanning, self.seen = True, seen

    async def stop_scanning(self) -> None:
        self._call("stop_scanning")
        self.scanning = False

    async def read(self, address: BleAddress) -> bytes:
        self._call(f"read {address}")
        value = self.values[address]
        if value is None:
            await asyncio.sleep(3600)
        if isinstance(value, Exception):
            raise value
        assert value is not None
        return value

    def channel(self, address: BleAddress = HERE) -> Channel:
        near, far = socket.socketpair()
        self.far.append(far)
        return Channel(near, address, 0x83, 0, 2048, 512)

    async def dial(self, address: BleAddress, psm: int) -> Channel:
        self._call(f"dial {address} {psm}")
        return self.channel(address)

    async def release(self, address: BleAddress) -> None:
        self._call(f"release {address}")


class World:
    """Bluetooth over a fake backend; this is its linker and its reporter too."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.told: list[tuple[Any, ...]] = []
        self.links: dict[int, tuple[Channel, Dial | None]] = {}
        self.closed: list[tuple[int, str]] = []
        self._numbers = count(1)
        policy = BlePolicy(OWN)
        loop = asyncio.get_running_loop()
        self.bluetooth = Bluetooth(policy, OWN, lambda _: self.backend, self, self, loop.time)

    async def ready(self, settings: BleSettings = ON) -> None:
        await self.bluetooth.apply(settings)
        self.backend.becomes(READY)
        await self.until(lambda: self.backend.scanning == settings.scan and "listen" in self.backend.calls)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, 3)

    def see(self, address: BleAddress, value: bytes | Exception | None) -> None:
        self.backend.values[address] = value
        self.backend.seen(Sighting(address, -50))

    def fate(self, address: BleAddress = HERE) -> Fate | None:
        rows = {row.address: row.fate for row in self.bluetooth.snapshot().sightings}
        return rows.get(address)

    def attach(self, channel: Channel, dial: Dial | None) -> int:
        number = next(self._numbers)
        self.links[number] = (channel, dial)
        return number

    def close_link(self, link: int, reason: str) -> None:
        self.closed.append((link, reason))
        self.links[link][0].socket.close()

    def ble_adapter(self, report: AdapterReport) -> None:
        self.told.append(("adapter", report.state))

    def ble_failed(self, adapter: str, reason: str) -> None:
        self.told.append(("failed", adapter, reason))

    def ble_step_failed(self, address: BleAddress, reason: str) -> None:
        self.told.append(("step", address, reason))


Check = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Check], None]:
    monkeypatch.setattr(bluetooth, "RETRY", 0.05)
    monkeypatch.setattr(bluetooth, "TICK", 0.001)
    monkeypatch.setattr(bluetooth, "STEP_LIMIT", 0.05)

    async def in_a_world(check: Check) -> None:
        world = World()
        try:
            await check(world)
        finally:
            await world.bluetooth.close()
            for channel, _ in world.links.values():
                channel.socket.close()
            for far in world.backend.far:
                far.close()

    return lambda check: asyncio.run(asyncio.wait_for(in_a_world(check), 10))


def value(key: bytes) -> bytes:
    return encode_value(Value(0x91, key[:18]))


def test_a_ready_adapter_listens_advertises_and_scans(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        await world.until(lambda: world.backend.advertising)
        assert world.backend.value == b"\x00\x83" + OWN[:18]
        now = world.bluetooth.snapshot()
        assert (now.report, now.advertising, now.scanning, now.psm) == (READY, True, True, 0x83)

    run(check)


def test_advertise_and_scan_are_switched_one_by_one(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        backend = world.backend
        await world.ready(BleSettings(True, "hci0", advertise=False))
        assert not backend.advertising
        await world.bluetooth.apply(BleSettings(True, "hci0", scan=False))
        await world.until(lambda: backend.advertising and not backend.scanning)
        await world.bluetooth.apply(BleSettings(True, "hci0", advertise=False))
        await world.until(lambda: backend.scanning and not backend.advertising)
        assert backend.calls.count("listen") == 1

    run(check)


def test_an_adapter_that_goes_and_comes_begins_anew(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.see(HERE, value(HIGH))
        await world.until(lambda: world.links)
        world.backend.becomes(OFF)
        assert world.closed == [(1, "the Bluetooth adapter hci0 is gone: it is powered off")]
        now = world.bluetooth.snapshot()
        assert (now.advertising, now.scanning, now.psm, now.sightings) == (False, False, None, ())
        world.bluetooth.handle_event(LinkDown(1, None, None, "it is powered off"))
        world.backend.becomes(READY)
        await world.until(lambda: world.backend.advertising and world.backend.scanning)
        assert [what[1] for what in world.told] == [
            AdapterState.READY,
            AdapterState.OFF,
            AdapterState.READY,
        ]

    run(check)


def test_an_adapter_that_goes_during_a_step_ends_it(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.see(HERE, None)
        await world.until(lambda: f"read {HERE}" in world.backend.calls)
        world.backend.becomes(OFF)
        world.backend.becomes(READY)
        await world.until(lambda: world.backend.scanning)
        world.see(THERE, value(HIGH))
        await world.until(lambda: world.links)

    run(check)


def test_an_adapter_that_goes_while_it_is_set_up_leaves_nothing_behind(run: Callable[[Check], None]) -> None:
    """Not even steps that were made and never begun, of which Python would warn."""

    async def check(world: World) -> None:
        world.backend.hangs = True
        await world.bluetooth.apply(ON)
        world.backend.becomes(READY)
        await world.until(lambda: "listen" in world.backend.calls)
        world.backend.becomes(OFF)
        world.backend.hangs = False
        world.backend.becomes(READY)
        await world.until(lambda: world.backend.advertising and world.backend.scanning)

    run(check)


def test_what_cannot_be_set_up_is_told_once_and_tried_on(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        world.backend.faults["advertise"] = BleError("cannot advertise: no slot is left")
        await world.ready()
        await world.until(lambda: world.backend.calls.count("advertise") >= 3)
        assert world.bluetooth.snapshot().error == "cannot advertise: no slot is left"
        del world.backend.faults["advertise"]
        await world.until(lambda: world.backend.advertising)
        await world.until(lambda: world.bluetooth.snapshot().error is None)
        failed = [what for what in world.told if what[0] == "failed"]
        assert failed == [("failed", "hci0", "cannot advertise: no slot is left")]

    run(check)


def test_an_advertisement_that_was_lost_is_begun_again(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        await world.until(lambda: world.backend.advertising)
        world.backend.advertising = False
        await world.until(lambda: world.backend.advertising)

    run(check)


def test_a_higher_key_is_dialled_and_a_lower_one_released(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.see(HERE, value(LOW))
        await world.until(lambda: world.fate(HERE) is Fate.AWAITED)
        world.see(THERE, value(HIGH))
        await world.until(lambda: world.links)
        assert world.backend.calls[-4:] == [
            f"read {HERE}",
            f"release {HERE}",
            f"read {THERE}",
            f"dial {THERE} {0x91}",
        ]
        [(channel, dial)] = world.links.values()
        assert dial == Dial(THERE, 0x91, HIGH[:18])
        assert channel.remote == THERE
        assert world.bluetooth.radio(1) == RadioSnapshot(-50, 0x83, 2048, 512)
        world.bluetooth.handle_event(LinkUp(1, 1, HIGH))
        world.bluetooth.handle_event(LinkAnnounced(1, 1, HIGH))
        assert world.fate(THERE) is Fate.PEERED
        world.bluetooth.handle_event(LinkDown(1, 1, HIGH, "silent for 5 s"))
        assert world.fate(THERE) is Fate.FAILED
        assert world.bluetooth.radio(1) is None

    run(check)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "no answer within 0.05 s"),
        (BleError("cannot connect: refused"), "cannot connect: refused"),
        (KeyError("oops"), "internal fault: KeyError"),
    ],
)
def test_a_step_that_fails_is_told_and_the_next_device_has_its_turn(
    run: Callable[[Check], None], found: Exception | None, reason: str
) -> None:
    async def check(world: World) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        await world.ready()
        world.see(HERE, found)
        await world.until(lambda: world.fate(HERE) is Fate.FAILED)
        assert ("step", HERE, reason) in world.told
        world.see(THERE, value(HIGH))
        await world.until(lambda: world.links)

    run(check)


def test_a_lie_is_followed_to_its_address(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.see(HERE, value(HIGH))
        await world.until(lambda: world.links)
        world.bluetooth.handle_event(CloseLink(1, "another node answered", True))
        world.bluetooth.handle_event(LinkDown(1, None, None, "another node answered"))
        assert world.fate() is Fate.REFUSED

    run(check)


def test_channels_of_strangers_beyond_the_limit_are_closed_at_once(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        for number in range(MAX_STRANGERS):
            world.backend.accept(world.backend.channel(HERE._replace(text=str(number))))
        one_more = world.backend.channel(THERE)
        world.backend.accept(one_more)
        assert one_more.socket.fileno() == -1
        assert len(world.links) == MAX_STRANGERS
        assert world.bluetooth.counters["channels_over_limit"] == 1

    run(check)


def test_a_channel_that_brought_more_than_was_taken_is_counted(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.backend.accept(world.backend.channel())
        world.backend.accept(dataclasses.replace(world.backend.channel(), overrun=lambda: True))
        for link in (1, 2):
            world.bluetooth.handle_event(LinkDown(link, None, None, "the peer closed the connection"))
        assert world.bluetooth.counters["channels_overrun"] == 1

    run(check)


def test_switched_off_it_closes_the_backend_and_the_peerings(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        await world.ready()
        world.backend.accept(world.backend.channel())
        await world.bluetooth.apply(BleSettings())
        assert world.backend.closed
        assert [link for link, _ in world.closed] == [1]
        assert not world.bluetooth.enabled

    run(check)


def test_a_missing_library_is_a_state_of_the_adapter(run: Callable[[Check], None]) -> None:
    async def check(world: World) -> None:
        def fail(_: str) -> FakeBackend:
            raise BleError("the Python package dbus_fast is not installed")

        world.bluetooth._open_backend = fail  # as `open_backend` does
        await world.bluetooth.apply(ON)
        report = world.bluetooth.snapshot().report
        assert report is not None
        assert (report.state, report.detail) == (
            AdapterState.FAILED,
            "the Python package dbus_fast is not installed",
        )

    run(check)


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'bumble'", name="bumble")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(BleError, match=r"package bumble is not installed; '.* install bumble'"):
        open_backend("bumble:usb:0")
