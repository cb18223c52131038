# SPDX-License-Identifier: Apache-2.0
"""Bumble as a backend: for controllers that BlueZ does not drive, over USB, a serial line, or in tests.

Bumble is a whole Bluetooth host in this process, so the controller is ours alone and bluetoothd must not have
it. Between two nodes there may be one connection only, whoever opened it, so what is there is used.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from bumble import hci
from bumble.core import UUID, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, Service
from bumble.l2cap import LeCreditBasedChannel, LeCreditBasedChannelSpec
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSpecError

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState, BleError, Channel, Sighting
from pineconed.transport.ble.bumble_channel import ChannelPump, open_channel
from pineconed.transport.ble.bumble_terms import (
    ADVERTISEMENT,
    ble_address,
    hci_address,
    plain_errors,
    words_of,
)
from pineconed.transport.ble.bumble_uuids import SERVICE, shows_service
from pineconed.transport.ble.value import CHARACTERISTIC_UUID, SERVICE_UUID

RETRY = 2.0
"""Seconds between two looks for a controller that is missing."""

POWER_ON = 5.0
"""Seconds that a controller has to answer."""

INTERVAL = 150.0
"""Milliseconds between two advertisements."""

MTU = 2048
"""Bytes of an SDU that we take, and of each of its packets."""

CREDITS = 32
"""Packets that the other side may send before it hears from us: 64 KiB."""

IDLE = 30.0
"""Seconds that a device which connected to us may have no channel: controllers take few connections."""

LINGER = 1.0
"""Seconds that a connection is left for the other node to use, which often comes at the same moment."""

MAX_KNOWN = 1024
"""Addresses that Bumble may remember of its scan."""


class _NoPairing(PairingDelegate):
    """Peerings need none, and keys of strangers would only take memory."""

    async def accept(self) -> bool:
        return False


class BumbleBackend:
    """See `Backend`. `spec` names a transport of Bumble, such as `usb:0` or `serial:/dev/ttyUSB0`.

    `open_controller` opens it; tests pass their own.
    """

    def __init__(
        self, spec: str, open_controller: Callable[[str], Awaitable[Transport]] = open_transport
    ) -> None:
        self._spec = spec
        self._name = f"bumble:{spec}"
        self._open_controller = open_controller
        self._report: Callable[[AdapterReport], None] = lambda _: None
        self._last: AdapterReport | None = None
        self._follower: asyncio.Task[None] | None = None
        self._device: Device | None = None
        self._value: Characteristic[bytes] | None = None
        self._advertised = False
        self._seen: Callable[[Sighting], None] | None = None
        self._target: BleAddress | None = None
        self._channels: dict[Connection, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    # ---------------------------------------------------------------- the controller comes and goes

    def start(self, report: Callable[[AdapterReport], None]) -> None:
        """See `Backend`."""
        self._report = report
        self._follower = asyncio.get_running_loop().create_task(self._follow(), name="bumble")

    async def close(self) -> None:
        """See `Backend`."""
        self._report = lambda _: None
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait({self._follower})

    async def _follow(self) -> None:
        while True:
            try:
                transport = await self._open_controller(self._spec)
            except TransportSpecError:
                self._tell(AdapterState.FAILED, f"Bumble knows no transport {self._spec!r}")
            except Exception as error:  # noqa: BLE001  (libusb, pyserial and sockets have errors of their own)
                self._tell(AdapterState.MISSING, f"it cannot be opened: {words_of(error)}")
            else:
                await self._use(transport)
            await asyncio.sleep(RETRY)

    async def _use(self, transport: Transport) -> None:
        """Have this controller until it goes."""
        try:
            async with asyncio.timeout(POWER_ON):
                await self._power_on(transport)
        except TimeoutError:
            self._tell(AdapterState.FAILED, f"the controller did not answer within {POWER_ON:g} s")
        except Exception as error:  # noqa: BLE001  (Bumble's, and those of whatever carries its bytes)
            self._tell(AdapterState.FAILED, f"the controller does not work: {words_of(error)}")
        else:
            await asyncio.wait({transport.source.terminated})
            self._forget()
            self._tell(AdapterState.MISSING, "it was unplugged, or its driver ended")
        finally:
            await self._let_go(transport)

    async def _power_on(self, transport: Transport) -> None:
        config = DeviceConfiguration(name="pineconed", address=hci.Address.generate_static_address())
        device = Device.from_config_with_hci(config, transport.source, transport.sink)
        device.pairing_config_factory = lambda _: PairingConfig(delegate=_NoPairing())
        device.on(device.EVENT_ADVERTISEMENT, self._on_advertisement)
        device.on(device.EVENT_CONNECTION, self._on_connection)
        await device.power_on()
        self._device = device
        self._tell(AdapterState.READY, "", str(device.random_address).partition("/")[0])

    def _forget(self) -> None:
        self._device = self._value = self._seen = None
        self._advertised = False
        for task in self._tasks:
            task.cancel()

    async def _let_go(self, transport: Transport) -> None:
        device = self._device
        self._forget()
        with contextlib.suppress(Exception):  # it may be gone
            async with asyncio.timeout(1):
                if device is not None:
                    await _end(device)
        with contextlib.suppress(Exception):
            await transport.close()

    def _tell(self, state: AdapterState, detail: str, address: str | None = None) -> None:
        report = AdapterReport(state, self._name, address, detail)
        if report != self._last:
            self._last = report
            self._report(report)

    def _ready(self) -> Device:
        if self._device is None:
            raise BleError(f"the adapter {self._name} is not ready")
        return self._device

    # ---------------------------------------------------------------- being found, and finding

    async def listen(self, accept: Callable[[Channel], None]) -> int:
        """See `Backend`."""

        def take(channel: LeCreditBasedChannel) -> None:
            accept(self._hand_over(channel))

        with plain_errors("take channels"):
            return int(self._ready().create_l2cap_server(_spec(None), take).psm)

    async def advertise(self, value: bytes) -> None:
        """See `Backend`."""
        device = self._ready()
        if self._value is None:
            self._value = Characteristic(
                CHARACTERISTIC_UUID, Characteristic.Properties.READ, Characteristic.READABLE, value
            )
            device.add_service(Service(SERVICE_UUID, [self._value]))
        self._value.value = value
        self._advertised = True
        await self._on_air(device)

    async def _on_air(self, device: Device) -> None:
        with plain_errors("advertise"):
            if device.is_advertising:
                await device.stop_advertising()
            await device.start_advertising(
                advertising_data=ADVERTISEMENT,
                auto_restart=True,
                advertising_interval_min=INTERVAL,
                advertising_interval_max=INTERVAL,
            )

    async def stop_advertising(self) -> None:
        """See `Backend`."""
        self._advertised = False
        if self._value is not None:
            self._value.value = b""
        device = self._ready()
        if device.is_advertising:
            with plain_errors("stop advertising"):
                await device.stop_advertising()

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        """See `Backend`."""
        self._seen = seen
        await self._resume_scanning()

    async def stop_scanning(self) -> None:
        """See `Backend`."""
        self._seen = None
        await self._pause_scanning()

    async def _resume_scanning(self) -> None:
        device = self._device
        if device is not None and self._seen is not None and not device.is_scanning:
            with plain_errors("scan"):
                await device.start_scanning(active=False, filter_duplicates=False)

    async def _pause_scanning(self) -> None:
        device = self._ready()
        if device.is_scanning:
            with plain_errors("stop scanning"):
                await device.stop_scanning()

    def _on_advertisement(self, found: Advertisement) -> None:
        device = self._device
        if device is None or self._seen is None:
            return
        if len(device.advertisement_accumulators) > MAX_KNOWN:
            device.advertisement_accumulators.clear()
        if found.is_connectable and shows_service(found.data):
            unknown = found.rssi == Advertisement.RSSI_NOT_AVAILABLE
            self._seen(Sighting(ble_address(found.address), None if unknown else found.rssi))

    @property
    def advertising(self) -> bool:
        """See `Backend`."""
        return self._advertised and self._device is not None and self._device.is_advertising

    @property
    def scanning(self) -> bool:
        """See `Backend`."""
        return self._device is not None and self._seen is not None

    # ---------------------------------------------------------------- connections

    def _on_connection(self, connection: Connection) -> None:
        """A controller stops to advertise when somebody connects, and may connect when we no longer want."""
        if self._advertised and connection.role is hci.Role.PERIPHERAL and self._device is not None:
            self._spawn(self._on_air(self._device))
        if connection.role is hci.Role.PERIPHERAL:
            self._spawn(self._disconnect_later(connection, IDLE))
        elif ble_address(connection.peer_address) != self._target:
            self._disconnect_if_idle(connection)

    async def read(self, address: BleAddress) -> bytes:
        """See `Backend`."""
        connection = await self._connect(address)
        try:
            with plain_errors("read its value"):
                peer = Peer(connection)
                services = await peer.discover_service(SERVICE)
                if not services:
                    raise BleError("it has no service of Pinecone")
                found = await services[0].discover_characteristics([UUID(CHARACTERISTIC_UUID)])
                if not found:
                    raise BleError("it has no value of Pinecone")
                return bytes(await found[0].read_value())
        except BaseException:
            self._disconnect_if_idle(connection)
            raise

    async def _connect(self, address: BleAddress) -> Connection:
        device = self._ready()
        if connection := self._connection_to(address):
            return connection
        await self._pause_scanning()
        self._target = address
        try:
            with plain_errors("connect"):
                return await self._open_connection(device, address)
        except asyncio.CancelledError:
            self._spawn(_stop_connecting(device))
            raise
        finally:
            self._target = None
            self._spawn(self._resume_scanning())

    async def _open_connection(self, device: Device, address: BleAddress) -> Connection:
        """Bumble takes any connection that comes up meanwhile for the one that it waits for."""
        connection = await device.connect(hci_address(address), timeout=None)
        if connection.role is hci.Role.CENTRAL:
            return connection
        await _stop_connecting(device)
        if found := self._connection_to(address):
            return found
        raise BleError("another device connected at the same moment")

    def _connection_to(self, address: BleAddress) -> Connection | None:
        for connection in self._ready().connections.values():
            if ble_address(connection.peer_address) == address:
                return connection
        return None

    async def dial(self, address: BleAddress, psm: int) -> Channel:
        """See `Backend`."""
        connection = await self._connect(address)
        try:
            with plain_errors(f"open a channel on PSM {psm:#x}"):
                channel, early = await open_channel(connection, _spec(psm))
                return self._hand_over(channel, early)
        except BaseException:
            self._disconnect_if_idle(connection)
            raise

    async def release(self, address: BleAddress) -> None:
        """See `Backend`. What the other side opened is left to it, and it may be about to use ours."""
        with contextlib.suppress(BleError):
            connection = self._connection_to(address)
            if connection is not None and connection.role is hci.Role.CENTRAL:
                self._spawn(self._disconnect_later(connection, LINGER))

    async def _disconnect_later(self, connection: Connection, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._disconnect_if_idle(connection)

    def _hand_over(self, channel: LeCreditBasedChannel, early: bytes = b"") -> Channel:
        connection = channel.connection
        self._channels[connection] = self._channels.get(connection, 0) + 1
        pump = ChannelPump(channel, early)
        task = self._spawn(pump.run())
        task.add_done_callback(lambda _: self._channel_ended(pump, channel))
        address = ble_address(connection.peer_address)
        return Channel(pump.socket, address, channel.psm, 0, channel.mtu, channel.peer_mtu, pump.overrun)

    def _channel_ended(self, pump: ChannelPump, channel: LeCreditBasedChannel) -> None:
        """Also if it was cancelled before it began."""
        pump.close()
        if channel.state is channel.State.CONNECTED and self._device is not None:
            self._spawn(channel.disconnect())
        connection = channel.connection
        self._channels[connection] -= 1
        if not self._channels[connection]:
            del self._channels[connection]
        self._disconnect_if_idle(connection)

    def _disconnect_if_idle(self, connection: Connection) -> None:
        device = self._device
        known = device is not None and device.connections.get(connection.handle) is connection
        if known and connection not in self._channels:
            self._spawn(connection.disconnect())

    def _spawn(self, step: Awaitable[Any]) -> asyncio.Task[None]:
        """Do this beside; its failure shows in what comes next."""
        task = asyncio.ensure_future(_quietly(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _end(device: Device) -> None:
    """Leave nothing on the air. A reset alone would end connections without a word to the other side."""
    if device.is_scanning:
        await device.stop_scanning()
    if device.is_advertising:
        await device.stop_advertising()
    for connection in list(device.connections.values()):
        await connection.disconnect()
    await device.reset()


async def _stop_connecting(device: Device) -> None:
    """Give up what `connect` waits for; it may come all the same, when Bumble wants to know the type."""
    device.connect_own_address_type = hci.OwnAddressType.RANDOM
    with contextlib.suppress(BaseBumbleError):
        await device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())


async def _quietly(step: Awaitable[Any]) -> None:
    with contextlib.suppress(OSError, BaseBumbleError):
        await step


def _spec(psm: int | None) -> LeCreditBasedChannelSpec:
    return LeCreditBasedChannelSpec(psm, mtu=MTU, mps=MTU, max_credits=CREDITS)
