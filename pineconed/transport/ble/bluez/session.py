# SPDX-License-Identifier: Apache-2.0
"""All that goes on while an adapter is ready, over a D-Bus connection of its own.

When that connection is closed, BlueZ undoes whatever was registered and begun by it: so nothing is left over.
"""

import asyncio
import contextlib
from collections.abc import Callable

from dbus_fast import Message, MessageType

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import BleError, Channel, Sighting
from pineconed.transport.ble.bluez import l2cap
from pineconed.transport.ble.bluez.adapters import Adapter
from pineconed.transport.ble.bluez.bus import Bus
from pineconed.transport.ble.bluez.l2cap import ChannelSocket, Listener
from pineconed.transport.ble.bluez.names import BLUEZ, DEVICE, OBJECT_MANAGER, PROPERTIES
from pineconed.transport.ble.bluez.peripheral import Peripheral
from pineconed.transport.ble.bluez.reader import GRACE, Reader
from pineconed.transport.ble.bluez.scanner import Scanner

DROPPING = 1.0
"""Seconds that BlueZ may take to close connections when all ends."""


class Session:
    """One adapter for as long as it is ready. `owner`: BlueZ on the bus, the only one that is believed.

    `lost` is called when the connection to the bus has ended. The methods are those of the backend.
    """

    def __init__(self, adapter: Adapter, owner: str, lost: Callable[[], None]) -> None:
        self._own = adapter.address
        self._path = adapter.path
        self._owner = owner
        self._bus = Bus(self._receive, lost)
        self._connecting = asyncio.Lock()
        self._connected = False
        self._closed = False
        self._listener: Listener | None = None
        self._channels: dict[BleAddress, int] = {}
        self.peripheral = Peripheral(self._bus, self._path)
        self.scanner = Scanner(self._bus, self._path)
        self._reader = Reader(self._bus, self._path, self._channels.__contains__)

    def close(self) -> None:
        """End all of it."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        self.peripheral.close()
        self.scanner.close()
        self._reader.close()
        self._bus.close()

    async def shut_down(self) -> None:
        """End all of it, and close connections first. BlueZ would keep those."""
        try:
            with contextlib.suppress(BleError, TimeoutError):
                async with asyncio.timeout(DROPPING):
                    await self._reader.drop_all()
        finally:
            self.close()
        await asyncio.sleep(0)  # for the tasks that were cancelled
        await self._bus.shut_down()

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._connected:
                await self._bus.connect()
                await self._bus.match(f"type='signal',sender='{BLUEZ}',interface='{OBJECT_MANAGER}'")
                await self._bus.match(
                    f"type='signal',sender='{BLUEZ}',interface='{PROPERTIES}',"
                    f"arg0='{DEVICE}',path_namespace='{self._path}'"
                )
                self._connected = True

    def _receive(self, message: Message) -> Message | None:
        if message.sender != self._owner:
            return None
        if message.message_type is MessageType.METHOD_CALL:
            return self.peripheral.answer(message)
        path, member, body = message.path or "", message.member, message.body
        if member == "InterfacesAdded":
            self.scanner.added(body[0], body[1])
        elif member == "InterfacesRemoved" and DEVICE in body[1]:
            self.scanner.removed(body[0])
        elif member == "PropertiesChanged" and body[0] == DEVICE:
            self.scanner.changed(path, body[1])
            self._reader.changed(path, body[1])
            if "Connected" in body[1]:
                self.peripheral.disturbed()
        return None

    # ---------------------------------------------------------------- what the backend does with it

    async def advertise(self, value: bytes) -> None:
        """See `Backend`."""
        await self._connect()
        await self.peripheral.start(value)

    async def stop_advertising(self) -> None:
        """See `Backend`."""
        if self.peripheral.advertising:
            await self.peripheral.stop()

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        """See `Backend`."""

        def see(sighting: Sighting) -> None:
            if not self._reader.closing(sighting.address):
                seen(sighting)

        await self._connect()
        await self.scanner.start(see)

    def listen(self, accept: Callable[[Channel], None]) -> int:
        """See `Backend`."""

        def take(channel: Channel) -> None:
            accept(self._follow(channel))

        self._listener = Listener(self._own, take)
        return self._listener.psm

    async def read(self, address: BleAddress) -> bytes:
        """See `Backend`. Discovery pauses until `dial` or `release`."""
        await self._connect()
        try:
            await self.scanner.pause()
            return await self._reader.read(address)
        except BaseException:
            self.scanner.resume()
            raise

    async def dial(self, address: BleAddress, psm: int) -> Channel:
        """See `Backend`."""
        try:
            with self._reader.closed_on_failure(address):
                return self._follow(await l2cap.dial(self._own, address, psm))
        finally:
            self.scanner.resume()

    def release(self, address: BleAddress) -> None:
        """See `Backend`."""
        self._reader.drop(address, GRACE)
        self.scanner.resume()

    def _follow(self, channel: Channel) -> Channel:
        """Close the connection below with the last of its channels."""
        remote = channel.remote
        self._channels[remote] = self._channels.get(remote, 0) + 1
        if isinstance(channel.socket, ChannelSocket):
            channel.socket.on_close = lambda: self._channel_closed(remote)
        return channel

    def _channel_closed(self, remote: BleAddress) -> None:
        self._channels[remote] -= 1
        if not self._channels[remote]:
            del self._channels[remote]
        if remote not in self._channels and not self._closed:
            self._reader.drop(remote)
