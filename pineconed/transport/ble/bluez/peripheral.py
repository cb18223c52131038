# SPDX-License-Identifier: Apache-2.0
"""Being seen and read: a GATT service and an advertisement that BlueZ asks this process for."""

import asyncio
import contextlib
from typing import Any

from dbus_fast import Message, Variant

from pineconed.transport.ble.backend import BleError
from pineconed.transport.ble.bluez.bus import Bus
from pineconed.transport.ble.bluez.names import (
    ADVERTISEMENT,
    ADVERTISING_MANAGER,
    GATT_CHARACTERISTIC,
    GATT_MANAGER,
    GATT_SERVICE,
    OBJECT_MANAGER,
    PROPERTIES,
)
from pineconed.transport.ble.value import CHARACTERISTIC_UUID, SERVICE_UUID

APPLICATION = "/org/pineconed/ble"
SERVICE = f"{APPLICATION}/service"
CHARACTERISTIC = f"{SERVICE}/value"
ADVERT = f"{APPLICATION}/advertisement"

SETTLING = 0.5
"""Seconds between a device's coming or going and the advertisement's renewal: it may be doing both."""

BETWEEN_RENEWALS = 3.0
"""Seconds between two renewals at least, however often others connect."""

TRIES = 5
"""Renewals that may fail in a row before the advertisement is given up."""

_ADVERT = {
    "Type": Variant("s", "peripheral"),
    "ServiceUUIDs": Variant("as", [SERVICE_UUID]),
    # Without this flag BlueZ's own discovery, at the other node, passes over the advertisement.
    "Discoverable": Variant("b", True),
}
_APPLICATION = {
    SERVICE: {GATT_SERVICE: {"UUID": Variant("s", SERVICE_UUID), "Primary": Variant("b", True)}},
    CHARACTERISTIC: {
        GATT_CHARACTERISTIC: {
            "UUID": Variant("s", CHARACTERISTIC_UUID),
            "Service": Variant("o", SERVICE),
            "Flags": Variant("as", ["read"]),
        }
    },
}


class Peripheral:
    """The service and the advertisement of this node on one adapter."""

    def __init__(self, bus: Bus, adapter_path: str) -> None:
        self._bus = bus
        self._path = adapter_path
        self._value = b""
        self._on_air = False
        self._renew = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def advertising(self) -> bool:
        """Whether the advertisement stands."""
        return self._on_air

    async def start(self, value: bytes) -> None:
        """Let others see this node and read `value`. BleError."""
        self._value = value
        if self._on_air:
            return
        await self._withdraw()
        try:
            await self._bus.call(self._path, GATT_MANAGER, "RegisterApplication", "oa{sv}", [APPLICATION, {}])
            await self._bus.call(
                self._path, ADVERTISING_MANAGER, "RegisterAdvertisement", "oa{sv}", [ADVERT, {}]
            )
        except BleError:
            await self._withdraw()
            raise
        self._on_air = True
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="bluetooth advertisement")

    async def stop(self) -> None:
        """Be seen no longer. BleError."""
        self.close()
        await self._withdraw()

    def close(self) -> None:
        """See to it no longer."""
        self._on_air = False
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    def disturbed(self) -> None:
        """Somebody connected or went, after which controllers and BlueZ may have stopped advertising."""
        self._renew.set()

    async def _withdraw(self) -> None:
        """Nothing happens for what is not registered."""
        with contextlib.suppress(BleError):
            await self._bus.call(self._path, ADVERTISING_MANAGER, "UnregisterAdvertisement", "o", [ADVERT])
        with contextlib.suppress(BleError):
            await self._bus.call(self._path, GATT_MANAGER, "UnregisterApplication", "o", [APPLICATION])

    async def _keep(self) -> None:
        failures = 0
        while failures < TRIES:
            await self._renew.wait()
            await asyncio.sleep(SETTLING)
            self._renew.clear()
            try:
                await self._advertise_anew()
                failures = 0
            except BleError:
                failures += 1
                self._renew.set()
            await asyncio.sleep(BETWEEN_RENEWALS)
        self._on_air = False

    async def _advertise_anew(self) -> None:
        with contextlib.suppress(BleError):
            await self._bus.call(self._path, ADVERTISING_MANAGER, "UnregisterAdvertisement", "o", [ADVERT])
        await self._bus.call(self._path, ADVERTISING_MANAGER, "RegisterAdvertisement", "oa{sv}", [ADVERT, {}])

    # ---------------------------------------------------------------- what BlueZ asks

    def answer(self, message: Message) -> Message | None:
        """The answer to a call; None if it is none of those that BlueZ makes."""
        asked = (message.path, message.interface, message.member)
        if asked == (APPLICATION, OBJECT_MANAGER, "GetManagedObjects"):
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [_APPLICATION])
        if asked == (CHARACTERISTIC, GATT_CHARACTERISTIC, "ReadValue"):
            return Message.new_method_return(message, "ay", [self._value[_offset(message.body) :]])
        if asked == (ADVERT, OBJECT_MANAGER, "GetManagedObjects"):
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [{ADVERT: {ADVERTISEMENT: _ADVERT}}])
        if asked == (ADVERT, PROPERTIES, "GetAll"):
            return Message.new_method_return(message, "a{sv}", [_ADVERT])
        if asked == (ADVERT, ADVERTISEMENT, "Release"):
            self.disturbed()
            return Message.new_method_return(message)
        return None


def _offset(body: list[Any]) -> int:
    option = body[0].get("offset") if body else None
    return int(option.value) if option is not None else 0
