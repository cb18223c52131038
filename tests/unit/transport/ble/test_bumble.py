# SPDX-License-Identifier: Apache-2.0
"""What strangers can make of the backend that uses Bumble, and what not."""

import asyncio
import os
from typing import Any

import pytest
from bumble import att, hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Device, DeviceConfiguration

from pineconed.transport.ble import bumble
from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterState, BleError, Channel
from pineconed.transport.ble.bumble import BumbleBackend
from pineconed.transport.ble.bumble_channel import MAX_BACKLOG, ChannelPump
from pineconed.transport.ble.bumble_uuids import SERVICE, shows_service
from pineconed.transport.ble.stream import BleStream
from tests.unit.transport.ble.radio import Radio
from tests.unit.waiting import until

VALUE = bytes(20)


async def started(radio: Radio) -> BumbleBackend:
    """A backend that is ready."""
    radio.plug_in("a")
    backend = BumbleBackend("a", radio.open)
    ready = asyncio.Event()
    backend.start(lambda report: ready.set() if report.state is AdapterState.READY else None)
    await ready.wait()
    return backend


async def stranger(radio: Radio) -> Device:
    """A device of somebody else."""
    transport = radio.plug_in("b").transport()
    config = DeviceConfiguration(name="b", address=hci.Address.generate_static_address())
    device = Device.from_config_with_hci(config, transport.source, transport.sink)
    await device.power_on()
    return device


def test_uuids_that_others_make_up_are_not_remembered() -> None:
    known = len(UUID.UUIDS)
    for _ in range(10):
        UUID.from_bytes(os.urandom(16))
        data = AdvertisingData(
            [(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, os.urandom(16))]
        )
        assert not shows_service(data)
    assert len(UUID.UUIDS) == known


@pytest.mark.parametrize("before", [b"", bytes(16)])
def test_the_service_is_found_among_others(before: bytes) -> None:
    kind = AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
    assert shows_service(AdvertisingData([(kind, before + bytes(SERVICE))]))
    assert not shows_service(AdvertisingData([(kind, b"\0" + bytes(SERVICE))]))


def test_who_connects_and_opens_no_channel_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        radio = Radio()
        backend = await started(radio)
        accepted: list[Channel] = []
        await backend.listen(accepted.append)
        await backend.advertise(VALUE)
        device = await stranger(radio)
        found: list[hci.Address] = []
        device.on("advertisement", lambda seen: found.append(seen.address))
        await device.start_scanning(active=False)
        await until(lambda: found, 5)
        await device.stop_scanning()
        await device.connect(found[0])
        await until(lambda: not device.connections, 5)
        assert not accepted
        await backend.close()

    monkeypatch.setattr(bumble, "IDLE", 0.3)
    asyncio.run(asyncio.wait_for(check(), 20))


def test_an_answer_that_bumble_does_not_understand_is_a_failed_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        radio = Radio()
        backend = await started(radio)
        device = await stranger(radio)

        def answer(connection: Any, request: Any) -> None:
            short = bytes([att.Opcode.ATT_READ_BY_TYPE_RESPONSE, 3, 2, 0, 0])
            found = bytes([att.Opcode.ATT_FIND_BY_TYPE_VALUE_RESPONSE, 1, 0, 255, 255])
            asked = request.op_code == att.Opcode.ATT_FIND_BY_TYPE_VALUE_REQUEST
            device.send_l2cap_pdu(connection.handle, att.ATT_CID, found if asked else short)

        monkeypatch.setattr(device.gatt_server, "on_gatt_pdu", answer)
        await device.start_advertising(advertising_interval_min=100)
        address = BleAddress(str(device.random_address).partition("/")[0], AddressKind.RANDOM)
        with pytest.raises(BleError, match="cannot read its value"):
            await backend.read(address)
        await backend.close()

    asyncio.run(asyncio.wait_for(check(), 20))


class DeafChannel:
    """As much of a channel of Bumble as the pump needs."""

    EVENT_CLOSE = "close"
    sink: Any = None

    def on(self, _: str, __: Any) -> None:
        """It never closes by itself."""


def read_all(stream: BleStream) -> None:
    """Read up to the end."""
    while stream.recv_into(memoryview(bytearray(65536))):
        pass


def test_a_channel_whose_bytes_nobody_takes_is_ended_and_says_so() -> None:
    async def check() -> None:
        channel = DeafChannel()
        pump = ChannelPump(channel)  # type: ignore[arg-type]
        running = asyncio.create_task(pump.run())
        for sent in range(0, 4 * MAX_BACKLOG, 2048):  # noqa: B007
            channel.sink(bytes(2048))
            await asyncio.sleep(0)
            if running.done():
                break
        assert running.done()
        assert sent <= 2 * MAX_BACKLOG
        pump.close()
        address = BleAddress("00:00:00:00:00:01", AddressKind.PUBLIC)
        stream = BleStream(Channel(pump.socket, address, 0x83, overrun=pump.overrun))
        with pytest.raises(OSError, match="more came by Bluetooth"):
            read_all(stream)
        stream.close()

    asyncio.run(check())
