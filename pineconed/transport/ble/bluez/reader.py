# SPDX-License-Identifier: Apache-2.0
"""Reading the value of another node by BlueZ's GATT client, and giving up the connection again."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import BleError
from pineconed.transport.ble.bluez.bus import Bus, plain
from pineconed.transport.ble.bluez.names import ADAPTER, DEVICE, GATT_CHARACTERISTIC
from pineconed.transport.ble.value import CHARACTERISTIC_UUID

GRACE = 2.0
"""Seconds that a connection stays which is needed no longer: often its other side is just reading us over
it, and about to open a channel."""


class Reader:
    """GATT connections from one adapter. `in_use`: whether the connection to a device carries a channel."""

    def __init__(self, bus: Bus, adapter_path: str, in_use: Callable[[BleAddress], bool]) -> None:
        self._bus = bus
        self._path = adapter_path
        self._in_use = in_use
        self._awaited: tuple[str, asyncio.Future[None]] | None = None
        self._open: set[BleAddress] = set()
        self._closing: dict[BleAddress, asyncio.Task[None]] = {}

    async def read(self, address: BleAddress) -> bytes:
        """Connect to a device and read its value. The connection stays, but not after an error. BleError."""
        if address in self._closing:
            await asyncio.wait({self._closing[address]})
        path = self._device_path(address)
        before = await self._bus.properties(path, DEVICE)
        if not before.get("Connected"):
            self._open.add(address)
        with self.closed_on_failure(address):
            return await self._read(path)

    async def _read(self, path: str) -> bytes:
        resolved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited = path, resolved
        connecting = asyncio.get_running_loop().create_task(self._connect(path))
        try:
            # If the device connects to us at the same moment, BlueZ's own attempt may hang; then the other's
            # connection serves as well.
            either: set[asyncio.Future[Any]] = {connecting, resolved}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not resolved.done() and not connecting.result():
                await resolved
            if resolved.done():
                resolved.result()
        finally:
            self._awaited = None
            for waiting in (connecting, resolved):
                if not waiting.cancel() and not waiting.cancelled():
                    waiting.exception()  # looked at: nobody else may have
        characteristic = await self._characteristic(path)
        (value,) = await self._bus.call(characteristic, GATT_CHARACTERISTIC, "ReadValue", "a{sv}", [{}])
        return bytes(value)

    async def _connect(self, path: str) -> bool:
        """Connect; whether the services are known at once."""
        await self._bus.call(path, DEVICE, "Connect")
        return bool((await self._bus.properties(path, DEVICE)).get("ServicesResolved"))

    async def _characteristic(self, device_path: str) -> str:
        for path, interfaces in (await self._bus.objects()).items():
            if path.startswith(f"{device_path}/") and GATT_CHARACTERISTIC in interfaces:
                found = plain(interfaces[GATT_CHARACTERISTIC])
                if found.get("UUID") == CHARACTERISTIC_UUID:
                    return path
        raise BleError("the device has no Pinecone service")

    def changed(self, path: str, properties: dict[str, Any]) -> None:
        """The properties of a device have changed."""
        if self._awaited is None or self._awaited[0] != path or self._awaited[1].done():
            return
        changed = plain(properties)
        if changed.get("Connected") is False:
            self._awaited[1].set_exception(BleError("the device has hung up"))
        elif changed.get("ServicesResolved"):
            self._awaited[1].set_result(None)

    def closing(self, address: BleAddress) -> bool:
        """Whether the connection to a device is being closed, and the device forgotten."""
        return address in self._closing

    def drop(self, address: BleAddress, grace: float = 0.0) -> None:
        """Close the connection to a device if it was opened here, in the background, after `grace` seconds.

        Nothing happens while it is in use: whoever closes the last channel calls again.
        """
        if address in self._open and address not in self._closing and not self._in_use(address):
            closing = asyncio.get_running_loop().create_task(self._close(address, grace))
            self._closing[address] = closing
            closing.add_done_callback(lambda _: self._closing.pop(address, None))

    @contextlib.contextmanager
    def closed_on_failure(self, address: BleAddress) -> Iterator[None]:
        """See to it that the connection to a device does not stay if what is done with it fails.

        When it took too long, and so was cancelled, that holds whoever opened the connection: after a crash
        of bluetoothd BlueZ may go on with one of which the other side knows no more.
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._open.add(address)
            self.drop(address)
            raise

    async def drop_all(self) -> None:
        """Close all connections at once."""
        for address in list(self._open):
            await self._forget(address)

    def close(self) -> None:
        """Close none any more."""
        for closing in self._closing.values():
            closing.cancel()

    async def _close(self, address: BleAddress, grace: float) -> None:
        await asyncio.sleep(grace)
        if not self._in_use(address):
            await self._forget(address)

    async def _forget(self, address: BleAddress) -> None:
        """Disconnect, and have BlueZ forget a device that is nothing to the operator: else it never does."""
        self._open.discard(address)
        path = self._device_path(address)
        with contextlib.suppress(BleError):
            device = await self._bus.properties(path, DEVICE)
            if device.get("Paired") or device.get("Trusted"):
                await self._bus.call(path, DEVICE, "Disconnect")
            else:
                await self._bus.call(self._path, ADAPTER, "RemoveDevice", "o", [path])

    def _device_path(self, address: BleAddress) -> str:
        return f"{self._path}/dev_{address.text.replace(':', '_')}"
