# SPDX-License-Identifier: Apache-2.0
"""A message bus of the test's own, and a BlueZ on it that does what it is told."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from pineconed.transport.ble.bluez.names import (
    ADAPTER,
    ADVERTISING_MANAGER,
    BLUEZ,
    DEVICE,
    GATT_CHARACTERISTIC,
    GATT_MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
)
from pineconed.transport.ble.value import CHARACTERISTIC_UUID, SERVICE_UUID

HCI0 = "/org/bluez/hci0"
OWN = "5C:F3:70:00:00:01"

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>{policy}
</policy></busconfig>
"""

DENIED = '<deny send_destination="org.bluez"/>'


class PrivateBus:
    """A dbus-daemon that listens at `path`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "bus"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, policy: str = "") -> None:
        """Start it, and wait until it is there."""
        file = self._folder / "bus.conf"
        file.write_text(_CONFIGURATION.format(path=self.path, policy=policy))
        self._process = await asyncio.create_subprocess_exec(
            "dbus-daemon", f"--config-file={file}", "--nofork", "--nopidfile", "--print-address",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    async def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        self.path.unlink(missing_ok=True)


class FakeBluez:
    """BlueZ. `objects`: what it has; `calls`: what it was asked; `refusals`: errors that it answers with."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self.silent: set[str] = set()
        self.next: dict[str, Callable[[], None]] = {}
        self.advertised: dict[str, Any] = {}
        self.value = bytes(20)
        self._bus: MessageBus | None = None

    async def start(self) -> None:
        """Come on the bus."""
        self._bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        self._bus.add_message_handler(self._answer)
        await self._bus.request_name(BLUEZ)

    async def stop(self) -> None:
        """End as a crash does."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()
            with contextlib.suppress(Exception):
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    def plug_in(self, path: str = HCI0, address: str = OWN, *, powered: bool = True, le: bool = True) -> None:
        """An adapter comes."""
        interfaces: dict[str, dict[str, Variant]] = {
            ADAPTER: {
                "Address": Variant("s", address),
                "AddressType": Variant("s", "public"),
                "Powered": Variant("b", powered),
            }
        }
        if le:
            interfaces |= {GATT_MANAGER: {}, ADVERTISING_MANAGER: {"ActiveInstances": Variant("y", 0)}}
        self.add(path, interfaces)

    def add(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        """An object comes."""
        self.objects[path] = interfaces
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def remove(self, path: str) -> None:
        """An object goes."""
        interfaces = list(self.objects.pop(path, {}))
        self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, interfaces])

    def change(self, path: str, interface: str, **properties: Variant) -> None:
        """Properties change."""
        self.objects[path][interface].update(properties)
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, properties, []])

    def sight(self, address: str, rssi: int = -60, uuid: str = SERVICE_UUID) -> str:
        """A device is heard; its path."""
        path = f"{HCI0}/dev_{address.replace(':', '_')}"
        if path in self.objects:
            self.change(path, DEVICE, RSSI=Variant("n", rssi))
            return path
        device = {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "random"),
            "UUIDs": Variant("as", [uuid]),
            "RSSI": Variant("n", rssi),
            "Connected": Variant("b", False),
        }
        self.add(path, {DEVICE: device})
        return path

    def connected(self, path: str) -> None:
        """A device is connected, and its services are known."""
        self.change(path, DEVICE, Connected=Variant("b", True))
        characteristic = {GATT_CHARACTERISTIC: {"UUID": Variant("s", CHARACTERISTIC_UUID)}}
        self.add(f"{path}/service000a/char000b", characteristic)
        self.change(path, DEVICE, ServicesResolved=Variant("b", True))

    async def ask(self, destination: str, path: str, interface: str, member: str, *body: Any) -> Message:
        """Call what a client exports, as BlueZ does."""
        assert self._bus is not None
        signature = {"ReadValue": "a{sv}", "GetAll": "s"}.get(member, "")
        call = Message(destination, path, interface, member, signature=signature, body=list(body))
        answer = await self._bus.call(call)
        assert answer is not None
        return answer

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _answer(self, message: Message) -> Message | bool | None:
        if (
            message.message_type is not MessageType.METHOD_CALL
            or message.flags & MessageFlag.NO_REPLY_EXPECTED
        ):
            return None
        member = message.member or ""
        self.calls[member] += 1
        if member in self.silent:
            return True
        if member in self.refusals:
            return Message.new_error(message, self.refusals[member], "so it was told")
        if member in self.next:
            asyncio.get_running_loop().call_soon(self.next.pop(member))
        return self._do(message, member)

    def _do(self, message: Message, member: str) -> Message:
        path = message.path or ""
        if member == "GetManagedObjects":
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self.objects])
        if member == "GetAll":
            if path not in self.objects:
                return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "gone")
            return Message.new_method_return(message, "a{sv}", [self.objects[path][message.body[0]]])
        if member == "RegisterAdvertisement":
            self.advertised = {"client": message.sender, "path": message.body[0]}
        elif member == "UnregisterAdvertisement":
            self.advertised = {}
        elif member == "Connect":
            self.connected(path)
        elif member == "Disconnect":
            self.change(path, DEVICE, Connected=Variant("b", False), ServicesResolved=Variant("b", False))
        elif member == "RemoveDevice":
            self.remove(message.body[0])
        elif member == "ReadValue":
            return Message.new_method_return(message, "ay", [self.value])
        return Message.new_method_return(message)
