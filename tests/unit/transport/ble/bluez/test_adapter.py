# SPDX-License-Identifier: Apache-2.0
"""The adapter, bluetoothd and the bus come and go, and the backend says so."""

from pathlib import Path

import pytest
from dbus_fast import Variant

from pineconed.transport.ble.backend import AdapterState
from pineconed.transport.ble.bluez import backend
from pineconed.transport.ble.bluez.names import ADAPTER
from tests.unit.transport.ble.bluez.bench import Bench, Play
from tests.unit.transport.ble.bluez.fake_bluez import DENIED, HCI0
from tests.unit.waiting import until


def test_a_bus_that_comes_late_and_a_bluez_that_comes_later(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        bench.begin()
        report = await bench.reported(AdapterState.NO_SERVICE)
        assert "D-Bus" in report.detail
        await bench.bus.start()
        await until(lambda: "bluetoothd does not run" in bench.reports[-1].detail)
        await bench.bluez.start()
        report = await bench.reported(AdapterState.MISSING)
        assert "no Bluetooth adapter" in report.detail
        bench.bluez.plug_in(powered=False)
        report = await bench.reported(AdapterState.OFF)
        assert (report.name, report.address) == ("hci0", "5C:F3:70:00:00:01")
        assert "power on" in report.detail
        bench.bluez.change(HCI0, ADAPTER, Powered=Variant("b", True))
        assert (await bench.reported(AdapterState.READY)).detail == ""

    play(scene)


def test_everything_goes_and_comes_back(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        bench.bluez.change(HCI0, ADAPTER, Powered=Variant("b", False))
        await bench.reported(AdapterState.OFF)
        bench.bluez.change(HCI0, ADAPTER, Powered=Variant("b", True))
        await bench.reported(AdapterState.READY)
        bench.bluez.remove(HCI0)
        await bench.reported(AdapterState.MISSING)
        bench.bluez.plug_in()
        await bench.reported(AdapterState.READY)
        await bench.bluez.stop()
        await bench.reported(AdapterState.NO_SERVICE)
        await bench.bluez.start()
        await bench.reported(AdapterState.READY)
        await bench.bus.stop()
        await bench.reported(AdapterState.NO_SERVICE)
        await bench.bluez.stop()
        await bench.bus.start()
        await bench.bluez.start()
        await bench.reported(AdapterState.READY)
        assert all(first != second for first, second in zip(bench.reports, bench.reports[1:], strict=False))

    play(scene)


def test_a_restart_of_bluez_leaves_ready_in_between(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        await bench.bluez.stop()
        await bench.bluez.start()
        await until(lambda: len(bench.reports) >= 3 and bench.reports[-1].state is AdapterState.READY)
        assert AdapterState.NO_SERVICE in [report.state for report in bench.reports]

    play(scene)


@pytest.mark.parametrize(("switch", "words"), [("soft", "rfkill unblock"), ("hard", "hard block")])
def test_a_radio_switch(play: Play, tmp_path: Path, switch: str, words: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        folder = tmp_path / "class/hci0/rfkill3"
        folder.mkdir(parents=True)
        (folder / switch).write_text("1\n")
        bench.bluez.change(HCI0, ADAPTER, Powered=Variant("b", False))
        assert words in (await bench.reported(AdapterState.BLOCKED)).detail
        (folder / switch).write_text("0\n")
        await bench.reported(AdapterState.OFF)

    play(scene)


@pytest.mark.parametrize("wanted", ["hci1", "5c:f3:70:00:00:02"])
def test_one_of_two_adapters(play: Play, wanted: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.bus.start()
        await bench.bluez.start()
        bench.bluez.plug_in()
        bench.begin(wanted)
        report = await bench.reported(AdapterState.MISSING)
        assert report.name == wanted
        assert "only hci0 (5C:F3:70:00:00:01)" in report.detail
        bench.bluez.plug_in("/org/bluez/hci1", "5C:F3:70:00:00:02")
        report = await bench.reported(AdapterState.READY)
        assert (report.name, report.address) == ("hci1", "5C:F3:70:00:00:02")

    play(scene)


def test_a_signal_right_behind_the_answer(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.bus.start()
        await bench.bluez.start()
        bench.bluez.plug_in(le=False)
        bench.bluez.next["GetManagedObjects"] = bench.bluez.plug_in
        bench.begin()
        await bench.reported(AdapterState.READY)

    play(scene)


def test_an_adapter_without_le(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.bus.start()
        await bench.bluez.start()
        bench.bluez.plug_in(le=False)
        bench.begin()
        assert "Bluetooth 4.0" in (await bench.reported(AdapterState.FAILED)).detail

    play(scene)


def test_a_policy_that_forbids_it(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.bus.start(DENIED)
        await bench.bluez.start()
        bench.begin()
        assert "D-Bus policy" in (await bench.reported(AdapterState.FAILED)).detail

    play(scene)


def test_a_bluetoothd_that_hangs(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWERING", 0.05)

    async def scene(bench: Bench) -> None:
        await bench.bus.start()
        await bench.bluez.start()
        bench.bluez.plug_in()
        bench.bluez.silent.add("GetManagedObjects")
        bench.begin()
        assert "does not answer" in (await bench.reported(AdapterState.FAILED)).detail
        await until(lambda: bench.bluez.calls["GetManagedObjects"] >= 5)
        bench.bluez.silent.clear()
        await bench.reported(AdapterState.READY)

    play(scene)


def test_sockets_that_are_forbidden(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "why_no_sockets", lambda: "no sockets here")

    async def scene(bench: Bench) -> None:
        await bench.bus.start()
        await bench.bluez.start()
        bench.bluez.plug_in()
        bench.begin()
        assert (await bench.reported(AdapterState.FAILED)).detail == "no sockets here"

    play(scene)
