# SPDX-License-Identifier: Apache-2.0
"""The backend for adapters that BlueZ drives: follows the adapter, and has a session while it is ready."""

import asyncio
from collections.abc import Callable

from dbus_fast import Message

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState, BleError, Channel, Sighting
from pineconed.transport.ble.bluez.adapters import ADAPTER_INTERFACES, Adapters, rfkill_state
from pineconed.transport.ble.bluez.bus import Bus, CallError, Objects
from pineconed.transport.ble.bluez.l2cap import why_no_sockets
from pineconed.transport.ble.bluez.names import ADAPTER, BLUEZ, DBUS, OBJECT_MANAGER, PROPERTIES
from pineconed.transport.ble.bluez.session import Session

LOOK = 1.0
"""Seconds between two looks at what nothing tells of: a bus that comes, a radio switch."""

ANSWERING = 2.0
"""Seconds within which bluetoothd has to say what it has."""

NO_DAEMON = "bluetoothd does not run; 'systemctl start bluetooth' (package bluez)"

BUS_ENDED = "the connection to the system's D-Bus has ended; 'systemctl start dbus' if it stays so"


class BluezBackend:
    """An adapter by its address, its name (`hci0`), or the first one (empty text)."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._adapters = Adapters(adapter, rfkill_state)
        self._bus: Bus | None = None
        self._owner: str | None = None
        self._session: Session | None = None
        self._report: Callable[[AdapterReport], None] = _nobody
        self._last: AdapterReport | None = None
        self._looked: AdapterReport | None = None
        self._asked = self._missed = False
        self._asking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    def start(self, report: Callable[[AdapterReport], None]) -> None:
        """See `Backend`."""
        self._report = report
        self._following = asyncio.get_running_loop().create_task(self._follow(), name="bluetooth adapter")

    async def close(self) -> None:
        """See `Backend`."""
        self._report = _nobody
        tasks = {task for task in (self._following, self._asking) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.shut_down()
        finally:
            if self._bus is not None:
                await self._bus.shut_down()

    # ---------------------------------------------------------------- following the adapter

    async def _follow(self) -> None:
        while True:
            if self._bus is None:
                await self._open_bus()
            elif self._session is not None:
                self._judge(look=True)
            elif self._owner is not None and (self._asking is None or self._asking.done()):
                self._ask()
            await asyncio.sleep(LOOK)

    async def _open_bus(self) -> None:
        bus = Bus(self._receive, self._lost_bus)
        try:
            await bus.connect()
            self._bus = bus
            await bus.match(
                f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'"
            )
            await bus.match(f"type='signal',sender='{BLUEZ}',interface='{OBJECT_MANAGER}',path='/'")
            await bus.match(
                f"type='signal',sender='{BLUEZ}',interface='{PROPERTIES}',member='PropertiesChanged',"
                f"arg0='{ADAPTER}'"
            )
            self._new_owner(await bus.owner())
        except BleError as error:
            bus.close()
            self._bus = None
            if self._last != self._without_bus():  # which says as much
                self._leave(AdapterReport(AdapterState.NO_SERVICE, self._adapter, detail=str(error)))

    def _lost_bus(self) -> None:
        self._bus = self._owner = None
        self._leave(self._without_bus())

    def _without_bus(self) -> AdapterReport:
        """The same for either connection, as both end when the bus does."""
        return AdapterReport(AdapterState.NO_SERVICE, self._adapter, detail=BUS_ENDED)

    def _new_owner(self, owner: str | None) -> None:
        """BlueZ came, went, or was replaced: what was known of it is void."""
        self._owner = owner
        self._asked = False
        if owner is None or self._session is not None:
            self._leave(AdapterReport(AdapterState.NO_SERVICE, self._adapter, detail=NO_DAEMON))
        if owner is not None:
            self._ask()

    def _ask(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.get_running_loop().create_task(self._ask_for_adapters())

    async def _ask_for_adapters(self) -> None:
        bus, owner = self._bus, self._owner
        if bus is None:
            return
        try:
            async with asyncio.timeout(ANSWERING):
                objects = await self._settled_objects(bus)
        except TimeoutError:
            bus.close()  # or the bus counts the answers that are due, and refuses any more calls
            self._bus = self._owner = None
            self._leave(self._unable("bluetoothd runs, but does not answer; 'systemctl restart bluetooth'"))
        except CallError as refusal:
            self._leave(self._unable(str(refusal)))
        except BleError:
            return  # the bus has gone, which is reported by itself
        else:
            if owner == self._owner:
                self._asked = True
                self._adapters.reset(objects)
                self._judge(look=True)

    async def _settled_objects(self, bus: Bus) -> Objects:
        """All that BlueZ has, with no signal after it that would be lost by taking the answer."""
        while True:
            self._missed = False
            objects = await bus.objects()
            if not self._missed:
                return objects

    def _unable(self, detail: str) -> AdapterReport:
        return AdapterReport(AdapterState.FAILED, self._adapter, detail=detail)

    def _receive(self, message: Message) -> Message | None:
        member, body = message.member, message.body
        if message.sender == DBUS and member == "NameOwnerChanged" and body[0] == BLUEZ:
            self._new_owner(body[2] or None)
        if message.sender != self._owner:
            return None
        if member == "InterfacesAdded" and not ADAPTER_INTERFACES.isdisjoint(body[1]):
            self._adapters.added(body[0], body[1])
        elif member == "InterfacesRemoved" and not ADAPTER_INTERFACES.isdisjoint(body[1]):
            self._adapters.removed(body[0], body[1])
        elif member == "PropertiesChanged" and body[0] == ADAPTER:
            self._adapters.changed(message.path or "", body[1])
        else:
            return None
        self._missed = True
        self._judge()
        return None

    def _judge(self, *, look: bool = False) -> None:
        """Report what has become of the adapter.

        BlueZ tells of a new adapter bit by bit. So while it was not ready and is not, another reason counts
        once it has stood from one look to the next (`look`).
        """
        if not self._asked or self._owner is None:
            return
        report = self._adapters.report()
        if report.state is not AdapterState.READY:
            if self._last is None or self._session is not None or (look and report == self._looked):
                self._leave(report)
            if look:
                self._looked = report
            return
        if self._session is not None and self._last != report:
            self._leave(
                AdapterReport(AdapterState.MISSING, report.name, detail="another adapter took its place")
            )
        if self._session is None:
            self._begin(report)

    def _begin(self, report: AdapterReport) -> None:
        refused = why_no_sockets()
        adapter = self._adapters.chosen()
        if refused or adapter is None or self._owner is None:
            self._leave(AdapterReport(AdapterState.FAILED, report.name, report.address, refused))
            return
        self._session = Session(adapter, self._owner, self._lost_session)
        self._tell(report)

    def _lost_session(self) -> None:
        self._leave(self._without_bus())

    def _leave(self, report: AdapterReport) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        self._tell(report)

    def _tell(self, report: AdapterReport) -> None:
        if report != self._last:
            self._last = report
            self._report(report)

    # ---------------------------------------------------------------- what is done with it

    def _ready(self) -> Session:
        if self._session is None:
            raise BleError("the Bluetooth adapter is not ready")
        return self._session

    async def listen(self, accept: Callable[[Channel], None]) -> int:
        """See `Backend`."""
        return self._ready().listen(accept)

    async def advertise(self, value: bytes) -> None:
        """See `Backend`."""
        await self._ready().advertise(value)

    async def stop_advertising(self) -> None:
        """See `Backend`."""
        if self._session is not None:
            await self._session.stop_advertising()

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        """See `Backend`."""
        await self._ready().scan(seen)

    async def stop_scanning(self) -> None:
        """See `Backend`."""
        if self._session is not None:
            await self._session.scanner.stop()

    async def read(self, address: BleAddress) -> bytes:
        """See `Backend`."""
        return await self._ready().read(address)

    async def dial(self, address: BleAddress, psm: int) -> Channel:
        """See `Backend`."""
        return await self._ready().dial(address, psm)

    async def release(self, address: BleAddress) -> None:
        """See `Backend`."""
        if self._session is not None:
            self._session.release(address)

    @property
    def advertising(self) -> bool:
        """See `Backend`."""
        return self._session is not None and self._session.peripheral.advertising

    @property
    def scanning(self) -> bool:
        """See `Backend`."""
        return self._session is not None and self._session.scanner.scanning


def _nobody(report: AdapterReport) -> None:
    """Reports go nowhere before `start` and after `close`."""
