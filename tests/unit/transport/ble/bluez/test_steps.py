# SPDX-License-Identifier: Apache-2.0
"""Being seen and read, and seeing and reading others, through BlueZ."""

import asyncio
import socket
from typing import Any

import pytest
from dbus_fast import Variant

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterState, BleError, Channel, Sighting
from pineconed.transport.ble.bluez import l2cap, scanner
from pineconed.transport.ble.bluez.names import (
    ADVERTISEMENT,
    DEVICE,
    GATT_CHARACTERISTIC,
    OBJECT_MANAGER,
    PROPERTIES,
)
from pineconed.transport.ble.value import CHARACTERISTIC_UUID, SERVICE_UUID
from tests.unit.transport.ble.bluez.bench import Bench, Play
from tests.unit.waiting import until

DEVICE_ADDRESS = "C0:00:00:00:00:0A"
PHONE = BleAddress(DEVICE_ADDRESS, AddressKind.RANDOM)
VALUE = b"\x00\x80" + b"K" * 18


# -------------------------------------------------------------------- being seen and read


def test_what_bluez_is_given_to_show(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        await bench.backend.advertise(VALUE)
        assert bench.backend.advertising
        client, path = bench.bluez.advertised["client"], bench.bluez.advertised["path"]
        (shown,) = (await bench.bluez.ask(client, path, PROPERTIES, "GetAll", ADVERTISEMENT)).body
        assert {name: variant.value for name, variant in shown.items()} == {
            "Type": "peripheral",
            "ServiceUUIDs": [SERVICE_UUID],
            "Discoverable": True,
        }
        (tree,) = (
            await bench.bluez.ask(client, "/org/pineconed/ble", OBJECT_MANAGER, "GetManagedObjects")
        ).body
        ((place, found),) = [
            (place, parts[GATT_CHARACTERISTIC])
            for place, parts in tree.items()
            if GATT_CHARACTERISTIC in parts
        ]
        assert found["UUID"].value == CHARACTERISTIC_UUID
        assert found["Flags"].value == ["read"]
        for options, expected in (({}, VALUE), ({"offset": Variant("q", 5)}, VALUE[5:])):
            answer = await bench.bluez.ask(client, place, GATT_CHARACTERISTIC, "ReadValue", options)
            assert answer.body == [expected]
        await bench.backend.stop_advertising()
        assert not bench.backend.advertising
        assert bench.bluez.advertised == {}

    play(scene)


def test_the_advertisement_is_renewed(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        await bench.backend.advertise(VALUE)
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.change(path, DEVICE, Connected=Variant("b", True))
        await until(lambda: bench.bluez.calls["RegisterAdvertisement"] >= 2)
        client, advert = bench.bluez.advertised["client"], bench.bluez.advertised["path"]
        bench.bluez.refusals["RegisterAdvertisement"] = "org.bluez.Error.Failed"
        await bench.bluez.ask(client, advert, ADVERTISEMENT, "Release")
        await until(lambda: not bench.backend.advertising)
        bench.bluez.refusals.clear()
        await bench.backend.advertise(VALUE)
        assert bench.backend.advertising

    play(scene)


@pytest.mark.parametrize("refused", ["RegisterApplication", "RegisterAdvertisement"])
def test_an_advertisement_that_is_refused(play: Play, refused: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        bench.bluez.refusals[refused] = "org.bluez.Error.NotPermitted"
        with pytest.raises(BleError, match="NotPermitted"):
            await bench.backend.advertise(VALUE)
        assert not bench.backend.advertising

    play(scene)


# -------------------------------------------------------------------- seeing and reading


def test_sightings(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        bench.bluez.sight("C0:00:00:00:00:01")
        seen: list[Sighting] = []
        await bench.backend.scan(seen.append)
        await until(lambda: bench.bluez.calls["StartDiscovery"] >= 2)
        assert seen == []  # BlueZ remembered it, and has not heard it
        bench.bluez.sight("C0:00:00:00:00:01", -70)
        bench.bluez.sight(DEVICE_ADDRESS, 127)
        bench.bluez.sight("C0:00:00:00:00:0B", uuid="0000180f-0000-1000-8000-00805f9b34fb")
        late = bench.bluez.sight("C0:00:00:00:00:0C", uuid="0000180f-0000-1000-8000-00805f9b34fb")
        bench.bluez.change(late, DEVICE, UUIDs=Variant("as", [SERVICE_UUID]))
        await until(lambda: len(seen) >= 3)
        assert seen == [
            Sighting(BleAddress("C0:00:00:00:00:01", AddressKind.RANDOM), -70),
            Sighting(PHONE, None),
            Sighting(BleAddress("C0:00:00:00:00:0C", AddressKind.RANDOM), -60),
        ]
        await bench.backend.stop_scanning()
        assert not bench.backend.scanning

    play(scene)


def test_devices_without_number(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "MAX_DEVICES", 10)

    async def scene(bench: Bench) -> None:
        await bench.up()
        seen: list[Sighting] = []
        await bench.backend.scan(seen.append)
        for number in range(500):
            bench.bluez.sight(f"C0:00:00:00:{number // 256:02X}:{number % 256:02X}")
            await asyncio.sleep(0.001)  # or the bus is full, which this side does not survive
        await until(lambda: len(seen) == 500)
        session = bench.backend._session
        assert session is not None
        assert len(session.scanner._devices) == 10

    play(scene)


def test_discovery_that_is_refused_is_given_up(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        bench.bluez.refusals["StartDiscovery"] = "org.bluez.Error.NotReady"
        await bench.backend.scan(lambda _: None)
        await until(lambda: not bench.backend.scanning)

    play(scene)


def test_a_value_is_read_and_the_device_forgotten(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        await bench.backend.scan(lambda _: None)
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.value = VALUE
        assert await bench.backend.read(PHONE) == VALUE
        begun = bench.bluez.calls["StartDiscovery"]
        assert bench.bluez.calls["StopDiscovery"] == begun
        await asyncio.sleep(0.1)
        assert bench.bluez.calls["StartDiscovery"] == begun  # as long as there is a connection to come
        await bench.backend.release(PHONE)
        await until(lambda: path not in bench.bluez.objects)
        await until(lambda: bench.bluez.calls["StartDiscovery"] > begun)

    play(scene)


def test_a_device_of_the_operators_is_only_disconnected(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.change(path, DEVICE, Paired=Variant("b", True))
        await bench.backend.read(PHONE)
        await bench.backend.release(PHONE)
        await until(lambda: bench.bluez.calls["Disconnect"] == 1)
        assert path in bench.bluez.objects

    play(scene)


def test_what_was_connected_before_stays_so(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.change(path, DEVICE, Connected=Variant("b", True))
        await bench.backend.read(PHONE)
        await bench.backend.release(PHONE)
        await bench.backend.close()
        assert path in bench.bluez.objects
        assert bench.bluez.calls["RemoveDevice"] == bench.bluez.calls["Disconnect"] == 0

    play(scene)


def test_a_connection_by_which_nothing_comes_is_closed_whoever_opened_it(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.connected(path)
        bench.bluez.silent.add("ReadValue")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.backend.read(PHONE), 0.05)
        await until(lambda: path not in bench.bluez.objects)

    play(scene)


def test_a_device_that_connects_to_us_meanwhile(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.value = VALUE
        bench.bluez.silent.add("Connect")
        reading = asyncio.create_task(bench.backend.read(PHONE))
        await until(lambda: bench.bluez.calls["Connect"] == 1)
        bench.bluez.connected(path)
        assert await reading == VALUE

    play(scene)


def test_a_device_that_hangs_up(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.silent.add("Connect")
        reading = asyncio.create_task(bench.backend.read(PHONE))
        await until(lambda: bench.bluez.calls["Connect"] == 1)
        bench.bluez.change(path, DEVICE, Connected=Variant("b", False))
        with pytest.raises(BleError, match="hung up"):
            await reading

    play(scene)


@pytest.mark.parametrize("failing", ["Connect", "ReadValue"])
def test_a_read_that_fails_leaves_nothing(play: Play, failing: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        await bench.backend.scan(lambda _: None)
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.refusals[failing] = "org.bluez.Error.Failed"
        with pytest.raises(BleError, match="so it was told"):
            await bench.backend.read(PHONE)
        await until(lambda: path not in bench.bluez.objects)
        begun = bench.bluez.calls["StartDiscovery"]
        await until(lambda: bench.bluez.calls["StartDiscovery"] > begun)
        with pytest.raises(BleError, match="no longer"):
            await bench.backend.read(PHONE)

    play(scene)


def test_a_read_that_is_cancelled_leaves_nothing(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        bench.bluez.silent.add("Connect")
        reading = asyncio.create_task(bench.backend.read(PHONE))
        await until(lambda: bench.bluez.calls["Connect"])
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until(lambda: path not in bench.bluez.objects)

    play(scene)


def test_a_dial_that_fails_closes_what_was_read(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_channel(*_: Any) -> None:
        raise BleError("nobody listens")

    monkeypatch.setattr(l2cap, "dial", no_channel)

    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        await bench.backend.read(PHONE)
        with pytest.raises(BleError, match="nobody listens"):
            await bench.backend.dial(PHONE, 0x80)
        await until(lambda: path not in bench.bluez.objects)

    play(scene)


def test_a_connection_lives_as_long_as_its_channels(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dial(_: BleAddress, remote: BleAddress, psm: int) -> Channel:
        return Channel(l2cap.ChannelSocket(socket.AF_UNIX, socket.SOCK_STREAM), remote, psm)

    monkeypatch.setattr(l2cap, "dial", dial)

    async def scene(bench: Bench) -> None:
        await bench.up()
        path = bench.bluez.sight(DEVICE_ADDRESS)
        await bench.backend.read(PHONE)
        channel = await bench.backend.dial(PHONE, 0x80)
        other = await bench.backend.dial(PHONE, 0x80)
        bench.bluez.refusals["ReadValue"] = "org.bluez.Error.Failed"
        with pytest.raises(BleError):
            await bench.backend.read(PHONE)
        await bench.backend.release(PHONE)
        other.socket.close()
        await asyncio.sleep(0.1)
        assert path in bench.bluez.objects
        channel.socket.close()
        await until(lambda: path not in bench.bluez.objects)

    play(scene)


def test_a_device_that_is_being_forgotten_is_not_sighted(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        await bench.up()
        seen: list[Sighting] = []
        await bench.backend.scan(seen.append)
        bench.bluez.sight(DEVICE_ADDRESS)
        await bench.backend.read(PHONE)
        await until(lambda: len(seen) == 1)
        await bench.backend.release(PHONE)
        path = bench.bluez.sight(DEVICE_ADDRESS)
        await until(lambda: path not in bench.bluez.objects)
        await asyncio.sleep(0.01)
        assert len(seen) == 1
        bench.bluez.sight(DEVICE_ADDRESS)
        await until(lambda: len(seen) == 2)

    play(scene)


def test_nothing_is_done_without_an_adapter(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        bench.begin()
        await bench.reported(AdapterState.NO_SERVICE)
        for step in (
            bench.backend.advertise(VALUE),
            bench.backend.read(PHONE),
            bench.backend.dial(PHONE, 128),
        ):
            with pytest.raises(BleError, match="not ready"):
                await step
        await bench.backend.stop_advertising()
        await bench.backend.release(PHONE)
        assert not bench.backend.advertising
        assert not bench.backend.scanning

    play(scene)
