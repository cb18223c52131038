# SPDX-License-Identifier: Apache-2.0
"""A node that was written by the protocol's page alone peers with ours; what ours makes of one that lies.

Nothing of pineconed's own is used on the foreign side: UUIDs, value, handshake and frames are bytes.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from bumble import hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, Service
from bumble.l2cap import LeCreditBasedChannel, LeCreditBasedChannelSpec
from nacl.signing import SigningKey
from structlog.testing import capture_logs

from tests.unit.transport.ble.hosts import Host, Place, eventually, seeds
from tests.unit.waiting import until

SERVICE = UUID("a2fda8dd-d250-4a64-8b9a-248f50b93c64")
CHARACTERISTIC = UUID("15d4151b-1008-41c0-85f2-950facf8a3cd")

Lines = list[Any]


class Foreign:
    """One foreign node. `value` is what others read; `psm` and `prefix` are its beginning if it is honest."""

    def __init__(self, seed: bytes) -> None:
        self._signing = SigningKey(seed)
        self.key = bytes(self._signing.verify_key)
        self.received = bytearray()
        self.channels: list[LeCreditBasedChannel] = []
        self.reads = 0
        self.device: Device = None  # type: ignore[assignment]

    async def start(self, place: Place, name: str, value: bytes | None = None) -> None:
        """Serve the value and take channels; nobody knows until `advertise`."""
        transport = place.radio.plug_in(name).transport()
        config = DeviceConfiguration(name=name, address=hci.Address.generate_static_address())
        self.device = Device.from_config_with_hci(config, transport.source, transport.sink)
        await self.device.power_on()
        psm = self.device.create_l2cap_server(LeCreditBasedChannelSpec(), self._take).psm
        told = value if value is not None else struct.pack(">H", psm) + self.key[:18]
        characteristic = Characteristic(
            CHARACTERISTIC, Characteristic.Properties.READ, Characteristic.READABLE, told
        )
        self.device.add_service(Service(SERVICE, [characteristic]))

    async def advertise(self) -> None:
        data = AdvertisingData(
            [(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(SERVICE))]
        )
        await self.device.start_advertising(advertising_data=bytes(data), advertising_interval_min=100)

    def _take(self, channel: LeCreditBasedChannel) -> None:
        self.channels.append(channel)
        channel.sink = self.received.extend
        channel.write(self.handshake())

    async def find_and_dial(self, key: bytes) -> None:
        """Look for the service, read the value, and dial the PSM in it, as the key is higher than ours."""
        found: asyncio.Future[hci.Address] = asyncio.get_running_loop().create_future()

        def look(advertisement: Advertisement) -> None:
            if not found.done():
                found.set_result(advertisement.address)

        self.device.on("advertisement", look)
        await self.device.start_scanning(active=False)
        address = await found
        await self.device.stop_scanning()
        connection = await self.device.connect(address)
        peer = Peer(connection)
        [service] = await peer.discover_service(SERVICE)
        [characteristic] = await service.discover_characteristics([CHARACTERISTIC])
        value = bytes(await characteristic.read_value())
        psm, prefix = struct.unpack(">H18s", value)
        assert prefix == key[:18] > self.key[:18]
        self._take(await connection.create_l2cap_channel(LeCreditBasedChannelSpec(psm)))

    def handshake(self) -> bytes:
        head = bytes.fromhex("010000000000003b") + self.key
        return head + self._signing.sign(head).signature

    def announcement(self) -> bytes:
        """That it is the root of its own tree, for the peer on its port 1."""
        root = self.key + b"\x01"
        payload = root + b"\x01" + self.key + self._signing.sign(root).signature
        return b"pine" + bytes([0, 1, 0, 0]) + struct.pack(">HH", 12 + len(payload), len(payload)) + payload

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(3)
            for channel in self.channels:
                channel.write(b"pine" + bytes(4) + struct.pack(">H", 10))

    async def greeted_by(self, key: bytes) -> None:
        """The other's handshake came, and an announcement behind it; then ours follows."""
        await until(lambda: len(self.received) >= 104 + 12, 20)
        assert bytes(self.received[:8]) == bytes.fromhex("010000000000003b")
        assert bytes(self.received[8:40]) == key
        assert bytes(self.received[104:110]) == b"pine\x00\x01"
        self.channels[0].write(self.announcement())


Check = Callable[[Place, Host, Foreign], Coroutine[Any, Any, None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Lines]:
    """Run a check with a daemon and a foreign node, of the higher key or not; what was logged."""

    async def together(check: Check, foreign_is_higher: bool) -> None:
        place = Place(monkeypatch, tmp_path)
        low, high = seeds()
        host = place.host("a", low if foreign_is_higher else high)
        foreign = Foreign(high if foreign_is_higher else low)
        place.radio.plug_in("a")
        async with place.running(host):
            await check(place, host, foreign)

    def run_check(check: Check, *, foreign_is_higher: bool) -> Lines:
        with capture_logs() as lines:
            asyncio.run(asyncio.wait_for(together(check, foreign_is_higher), 90))
        return lines

    return run_check


async def stays(host: Host, foreign: Foreign) -> None:
    """The peering is up, and outlives the five seconds in which something has to come."""
    await eventually(host.bluetooth_peers)
    keeping = asyncio.create_task(foreign.keep_alive())
    await asyncio.sleep(5.5)
    keeping.cancel()
    [peer] = await host.peers()
    assert peer.public_key == foreign.key.hex()
    assert peer.state == "up"


def test_a_foreign_node_of_the_higher_key_is_dialled(run: Callable[..., Lines]) -> None:
    async def check(place: Place, host: Host, foreign: Foreign) -> None:
        await foreign.start(place, "f")
        await foreign.advertise()
        await foreign.greeted_by(host.key)
        await eventually(host.bluetooth_peers)

    run(check, foreign_is_higher=True)


def test_a_foreign_node_of_the_lower_key_dials(run: Callable[..., Lines]) -> None:
    async def check(place: Place, host: Host, foreign: Foreign) -> None:
        await foreign.start(place, "f")
        await foreign.find_and_dial(host.key)
        await foreign.greeted_by(host.key)
        await stays(host, foreign)

    run(check, foreign_is_higher=False)


def test_a_node_whose_value_is_a_lie_gets_one_line_and_is_left_alone(run: Callable[..., Lines]) -> None:
    async def check(place: Place, host: Host, foreign: Foreign) -> None:
        await foreign.start(place, "f", struct.pack(">H", 0x80) + b"\xff" * 18)
        await foreign.advertise()

        async def refused() -> bool:
            return [row.fate for row in (await host.ble()).sightings] == ["refused"]

        await eventually(refused)
        await asyncio.sleep(1)
        assert len(foreign.channels) == 1
        [row] = (await host.ble()).sightings
        assert row.next_try_seconds is not None
        assert row.next_try_seconds > 20

    lines = run(check, foreign_is_higher=True)
    [line] = [line for line in lines if line["event"] == "handshake failed"]
    assert line["log_level"] == "warning"
    assert "does not begin with " + "ff" * 18 in line["reason"]


@pytest.mark.parametrize(
    ("value", "fate"),
    [(b"\x00\x80", "too-old"), (b"\x00\x80" + bytes(30), "failed"), (bytes(20), "failed")],
)
def test_what_is_no_value_of_a_node_is_not_dialled(
    run: Callable[..., Lines], value: bytes, fate: str
) -> None:
    async def check(place: Place, host: Host, foreign: Foreign) -> None:
        await foreign.start(place, "f", value)
        await foreign.advertise()

        async def settled() -> bool:
            return [row.fate for row in (await host.ble()).sightings] == [fate]

        await eventually(settled)
        assert not foreign.channels

    run(check, foreign_is_higher=True)
