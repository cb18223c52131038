# SPDX-License-Identifier: Apache-2.0
"""A connection to the system's message bus, on which only BlueZ is spoken to and listened to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from pineconed.transport.ble.backend import BleError
from pineconed.transport.ble.bluez.names import BLUEZ, DBUS, OBJECT_MANAGER, PROPERTIES

CONNECTING = 5.0
"""Seconds that the bus may take to let us in."""

REMEDIES = {
    "org.freedesktop.DBus.Error.AccessDenied": (
        "the D-Bus policy does not let this user speak to bluetoothd; see 'Permissions' in the Bluetooth page"
    ),
    "org.freedesktop.DBus.Error.ServiceUnknown": "bluetoothd does not run",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "bluetoothd does not run",
    "org.freedesktop.DBus.Error.NoReply": "bluetoothd has ended",
    "org.freedesktop.DBus.Error.UnknownObject": "BlueZ knows the device or adapter no longer",
}

Objects = dict[str, dict[str, dict[str, Variant]]]
"""Properties by path and interface, as GetManagedObjects gives them."""


class CallError(BleError):
    """A call was answered by an error. `name`: that of the error on D-Bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(REMEDIES.get(name) or f"{text} ({name})")
        self.name = name


class Bus:
    """One connection. `receive` gets every signal, and every call, which it may answer by a message.

    `lost` is called once when the connection ends otherwise than by `close`.
    """

    def __init__(self, receive: Callable[[Message], Message | None], lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._bus: MessageBus | None = None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, once. BleError when there is no bus, or it does not let us in."""
        try:
            async with asyncio.timeout(CONNECTING):
                bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        except (OSError, EOFError, DBusFastError) as error:
            reason = str(error) or type(error).__name__
            raise BleError(
                f"no connection to the system's D-Bus ({reason}): install and start the package dbus"
            ) from error
        bus.add_message_handler(self._handle)
        self._bus = bus
        self._watch = asyncio.get_running_loop().create_task(self._wait(bus), name="bluetooth D-Bus")

    def close(self) -> None:
        """Disconnect; BlueZ then undoes what was registered and begun by this connection."""
        self._lost = _nothing
        if self._bus is not None and self._bus.connected:
            self._bus.disconnect()

    async def shut_down(self) -> None:
        """Disconnect, and wait until that is done."""
        self.close()
        if self._watch is not None:
            await asyncio.wait({self._watch})

    async def _wait(self, bus: MessageBus) -> None:
        try:
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError, DBusFastError):
            pass  # what it was does not matter: it is gone
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(BleError("the connection to the system's D-Bus has ended"))
            self._lost()

    def _handle(self, message: Message) -> Message | None:
        if message.message_type in (MessageType.METHOD_RETURN, MessageType.ERROR):
            waiting = self._waiting.get(message.reply_serial or 0)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return None
        return self._receive(message)

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        destination: str = BLUEZ,
    ) -> list[Any]:
        """Call a method and return what it returns. May be cancelled. BleError."""
        bus = self._bus
        if bus is None or not bus.connected:
            raise BleError("the connection to the system's D-Bus has ended")
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.NO_AUTOSTART,
            serial=bus.next_serial(),
        )
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message.serial] = waiting
        try:
            bus.send(message).add_done_callback(_ignore)
            reply = await waiting
        finally:
            del self._waiting[message.serial]
        if reply.message_type is MessageType.ERROR:
            text = str(reply.body[0]) if reply.body else "refused"
            raise CallError(reply.error_name or "", f"{member}: {text}")
        return list(reply.body)

    async def match(self, rule: str) -> None:
        """Receive the signals that a rule names. BleError."""
        await self.call("/org/freedesktop/DBus", DBUS, "AddMatch", "s", [rule], DBUS)

    async def owner(self) -> str | None:
        """The connection that BlueZ has; None when it does not run. BleError."""
        try:
            (owner,) = await self.call("/org/freedesktop/DBus", DBUS, "GetNameOwner", "s", [BLUEZ], DBUS)
        except CallError as refusal:
            if refusal.name == "org.freedesktop.DBus.Error.NameHasNoOwner":
                return None
            raise
        return str(owner)

    async def objects(self) -> Objects:
        """All that BlueZ has. BleError."""
        (objects,) = await self.call("/", OBJECT_MANAGER, "GetManagedObjects")
        return dict(objects)

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """The properties of one object. BleError."""
        (found,) = await self.call(path, PROPERTIES, "GetAll", "s", [interface])
        return plain(found)


def plain(properties: dict[str, Variant]) -> dict[str, Any]:
    """Properties without their types."""
    return {name: variant.value for name, variant in properties.items()}


def _nothing() -> None:
    pass


def _ignore(sent: asyncio.Future[None]) -> None:
    """A message that could not be sent: the connection ends, of which whoever waits is told."""
    if not sent.cancelled():
        sent.exception()
