# SPDX-License-Identifier: Apache-2.0
"""The adapters that BlueZ has, as its signals tell, and what can be done with the one that is wanted."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.ble.bluez.bus import Objects, plain
from pineconed.transport.ble.bluez.names import ADAPTER, ADVERTISING_MANAGER, GATT_MANAGER

ADAPTER_INTERFACES = frozenset({ADAPTER, ADVERTISING_MANAGER, GATT_MANAGER})
"""What of BlueZ's objects matters here."""

CLASS_FOLDER = Path("/sys/class/bluetooth")


@dataclass(slots=True)
class Adapter:
    """One adapter: its path on D-Bus, its properties and the interfaces that it has."""

    path: str
    properties: dict[str, Any] = field(default_factory=dict)
    interfaces: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """As the kernel calls it: `hci0`."""
        return self.path.rpartition("/")[2]

    @property
    def address(self) -> BleAddress:
        """Its own."""
        kind = AddressKind.RANDOM if self.properties.get("AddressType") == "random" else AddressKind.PUBLIC
        return BleAddress(str(self.properties.get("Address", "")).upper(), kind)


class Adapters:
    """All adapters. `blocked` tells of one, by its name, whether a radio switch holds it: `rfkill_state`."""

    def __init__(self, wanted: str, blocked: Callable[[str], str]) -> None:
        self._wanted = wanted
        self._blocked = blocked
        self._known: dict[str, Adapter] = {}

    def reset(self, objects: Objects) -> None:
        """These and no others."""
        self._known.clear()
        for path, interfaces in objects.items():
            self.added(path, interfaces)

    def added(self, path: str, interfaces: dict[str, Any]) -> None:
        """An object has interfaces now."""
        if ADAPTER in interfaces:
            self._known[path] = Adapter(path, plain(interfaces[ADAPTER]))
        if path in self._known:
            self._known[path].interfaces.update(interfaces)

    def removed(self, path: str, interfaces: list[str]) -> None:
        """An object has these interfaces no longer."""
        if ADAPTER in interfaces:
            self._known.pop(path, None)
        elif path in self._known:
            self._known[path].interfaces.difference_update(interfaces)

    def changed(self, path: str, properties: dict[str, Any]) -> None:
        """The properties of an adapter have changed."""
        if path in self._known:
            self._known[path].properties.update(plain(properties))

    def chosen(self) -> Adapter | None:
        """The wanted one: by address, by name, or the first."""
        wanted = self._wanted.upper()
        for adapter in sorted(self._known.values(), key=_number):
            if wanted in ("", adapter.name.upper(), adapter.address.text):
                return adapter
        return None

    def report(self) -> AdapterReport:
        """What can be done with the wanted one."""
        adapter = self.chosen()
        if adapter is None:
            return AdapterReport(AdapterState.MISSING, self._wanted, detail=self._who_is_there())
        state, detail = self._state(adapter)
        return AdapterReport(state, adapter.name, adapter.address.text, detail)

    def _state(self, adapter: Adapter) -> tuple[AdapterState, str]:
        if not adapter.properties.get("Powered"):
            switch = self._blocked(adapter.name)
            if switch:
                return AdapterState.BLOCKED, switch
            return (
                AdapterState.OFF,
                f"it is powered off; 'bluetoothctl power on' (after 'select {adapter.address}')",
            )
        if not {ADVERTISING_MANAGER, GATT_MANAGER} <= adapter.interfaces:
            return (
                AdapterState.FAILED,
                "BlueZ offers no Bluetooth LE on it: it needs an adapter of Bluetooth 4.0 or later",
            )
        return AdapterState.READY, ""

    def _who_is_there(self) -> str:
        if not self._known:
            return "this machine has no Bluetooth adapter, or no driver for it ('bluetoothctl list')"
        there = ", ".join(
            f"{known.name} ({known.address})" for known in sorted(self._known.values(), key=_number)
        )
        return f"there is no Bluetooth adapter {self._wanted}, only {there}"


def rfkill_state(name: str) -> str:
    """Which radio switch holds an adapter, and how to release it; empty if none does."""
    for switch in (CLASS_FOLDER / name).glob("rfkill*"):
        if _is_set(switch / "hard"):
            return "a switch or the firmware of this machine keeps it off (hard block in 'rfkill list')"
        if _is_set(switch / "soft"):
            return "it is blocked by rfkill; 'rfkill unblock bluetooth'"
    return ""


def _is_set(file: Path) -> bool:
    try:
        return file.read_text().strip() == "1"
    except OSError:
        return False


def _number(adapter: Adapter) -> tuple[int, str]:
    digits = re.sub(r"\D", "", adapter.name)
    return int(digits or 0), adapter.name
