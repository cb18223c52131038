# SPDX-License-Identifier: Apache-2.0
"""A bus, a BlueZ and a backend, for a test to play with."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.ble.bluez import BluezBackend
from tests.unit.transport.ble.bluez.fake_bluez import FakeBluez, PrivateBus
from tests.unit.waiting import until


class Bench:
    """A bus, a BlueZ, and a backend with all that it reports."""

    def __init__(self, folder: Path) -> None:
        self.bus = PrivateBus(folder)
        self.bluez = FakeBluez()
        self.reports: list[AdapterReport] = []
        self.backend = BluezBackend("")

    def begin(self, adapter: str = "") -> None:
        self.backend = BluezBackend(adapter)
        self.backend.start(self.reports.append)

    async def up(self, adapter: str = "") -> None:
        """As far as READY."""
        await self.bus.start()
        await self.bluez.start()
        self.bluez.plug_in()
        self.begin(adapter)
        await self.reported(AdapterState.READY)

    async def reported(self, state: AdapterState) -> AdapterReport:
        await until(lambda: self.reports and self.reports[-1].state is state)
        return self.reports[-1]

    async def end(self) -> None:
        await self.backend.close()
        await self.bluez.stop()
        await self.bus.stop()


Scene = Callable[[Bench], Awaitable[None]]
Play = Callable[[Scene], None]
