# SPDX-License-Identifier: Apache-2.0
"""Looking for devices that advertise the service."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

from dbus_fast import Variant

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import BleError, Sighting
from pineconed.transport.ble.bluez.bus import Bus, plain
from pineconed.transport.ble.bluez.names import ADAPTER, DEVICE
from pineconed.transport.ble.value import SERVICE_UUID

LOOK = 2.5
"""Seconds of one discovery at most. Controllers report each device once in it, so a new one is begun.

Some are shorter, or two nodes might stay in step and connect to each other at the same time; but none is
shorter than BlueZ takes between two advertisements, 1.3 s.
"""

FAILURES = 30
BETWEEN_FAILURES = 0.5
"""Discoveries that may fail to begin in a row before looking is given up, and seconds between two of them.

When bluetoothd has crashed, the kernel ends its discovery after 10 s only, and until then refuses another.
"""

MAX_DEVICES = 1024
"""Devices that are remembered to have the service; BlueZ itself forgets each that it hears no more."""

MAX_QUESTIONS = 8
"""Devices of which BlueZ is asked at one time what they are."""

NO_SIGNAL_STRENGTH = 127


class Scanner:
    """Discovery on one adapter, with pauses."""

    def __init__(self, bus: Bus, adapter_path: str) -> None:
        self._bus = bus
        self._path = adapter_path
        self._seen: Callable[[Sighting], None] | None = None
        self._devices: dict[str, BleAddress] = {}
        self._questions: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._pause = asyncio.Event()
        self._resume = asyncio.Event()
        self._idle = asyncio.Event()
        self.resume()

    @property
    def scanning(self) -> bool:
        """Whether it looks, or would but for a pause."""
        return self._looking is not None

    async def start(self, seen: Callable[[Sighting], None]) -> None:
        """Look from now on. BleError."""
        self._seen = seen
        if self._looking is not None:
            return
        wanted = {
            "UUIDs": Variant("as", [SERVICE_UUID]),
            "Transport": Variant("s", "le"),
            "DuplicateData": Variant("b", False),
        }
        await self._bus.call(self._path, ADAPTER, "SetDiscoveryFilter", "a{sv}", [wanted])
        for path, interfaces in (await self._bus.objects()).items():
            self.added(path, interfaces, heard=False)
        self._idle.clear()
        self._looking = asyncio.get_running_loop().create_task(self._look(), name="bluetooth discovery")
        self._looking.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Look no longer."""
        looking = self._looking
        self.close()
        if looking is not None:
            await asyncio.wait({looking})
            await self._stop_discovery()

    def close(self) -> None:
        """Look no longer; BlueZ is not told."""
        self._seen = None
        if self._looking is not None:
            self._looking.cancel()
        for question in self._questions:
            question.cancel()

    async def pause(self) -> None:
        """End discovery for a while: BlueZ connects ten times faster without."""
        self._resume.clear()
        self._pause.set()
        await self._idle.wait()

    def resume(self) -> None:
        """Go on after a pause."""
        self._pause.clear()
        self._resume.set()
        if self._looking is None:
            self._idle.set()

    async def _look(self) -> None:
        failures = 0
        while failures < FAILURES:
            self._idle.set()
            await self._resume.wait()
            self._idle.clear()
            try:
                await self._bus.call(self._path, ADAPTER, "StartDiscovery")
            except BleError:
                failures += 1
                await asyncio.sleep(BETWEEN_FAILURES)
                continue
            failures = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK * random.uniform(0.6, 1)):
                    await self._pause.wait()
            await self._stop_discovery()

    async def _stop_discovery(self) -> None:
        with contextlib.suppress(BleError):
            await self._bus.call(self._path, ADAPTER, "StopDiscovery")

    def _ended(self, looking: asyncio.Task[None]) -> None:
        if self._looking is looking:
            self._looking = None
        self._idle.set()
        if not looking.cancelled():
            looking.exception()

    # ---------------------------------------------------------------- what BlueZ tells

    def added(self, path: str, interfaces: dict[str, Any], *, heard: bool = True) -> None:
        """BlueZ has a new object; if not `heard`, it has had it since before."""
        if DEVICE in interfaces and path.startswith(self._path):
            properties = plain(interfaces[DEVICE])
            self._remember(path, properties)
            if heard:
                self._sight(path, properties)

    def removed(self, path: str) -> None:
        """BlueZ has forgotten an object."""
        self._devices.pop(path, None)

    def changed(self, path: str, properties: dict[str, Any]) -> None:
        """The properties of a device have changed: its signal strength whenever it is heard."""
        changed = plain(properties)
        if path in self._devices:
            self._sight(path, changed)
        elif SERVICE_UUID in changed.get("UUIDs", ()) and len(self._questions) < MAX_QUESTIONS:
            question = asyncio.get_running_loop().create_task(self._ask(path))
            self._questions.add(question)
            question.add_done_callback(self._questions.discard)

    async def _ask(self, path: str) -> None:
        with contextlib.suppress(BleError):
            properties = await self._bus.properties(path, DEVICE)
            self._remember(path, properties)
            self._sight(path, properties)

    def _remember(self, path: str, properties: dict[str, Any]) -> None:
        if SERVICE_UUID not in properties.get("UUIDs", ()):
            return
        if len(self._devices) >= MAX_DEVICES:
            del self._devices[next(iter(self._devices))]
        kind = AddressKind.RANDOM if properties.get("AddressType") == "random" else AddressKind.PUBLIC
        self._devices[path] = BleAddress(str(properties.get("Address", "")).upper(), kind)

    def _sight(self, path: str, properties: dict[str, Any]) -> None:
        address, strength = self._devices.get(path), properties.get("RSSI")
        if address is not None and strength is not None and self._seen is not None:
            self._seen(Sighting(address, None if strength == NO_SIGNAL_STRENGTH else int(strength)))
