# SPDX-License-Identifier: Apache-2.0
"""A daemon that is configured for an adapter of BlueZ tells of it by the admin API and in the log."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant
from structlog.testing import capture_logs

from pineconed.admin.schema_ble import BleAdapter
from pineconed.transport.ble.bluez import BluezBackend, adapters
from pineconed.transport.ble.bluez.names import ADAPTER
from pineconed.transport.ble.bumble import BumbleBackend
from pineconed.transport.ble.choose import open_backend
from tests.unit.transport.ble.bluez.bench import Bench, Play
from tests.unit.transport.ble.bluez.fake_bluez import HCI0
from tests.unit.transport.ble.hosts import Host, Place, eventually, seeds

SOME_OTHER = "/org/bluez/hci1"


@pytest.mark.parametrize(
    ("adapter", "kind"),
    [
        ("", BluezBackend),
        ("hci1", BluezBackend),
        ("5c:f3:70:00:00:02", BluezBackend),
        ("bumble:usb:0", BumbleBackend),
    ],
)
def test_the_adapter_decides_what_drives_it(adapter: str, kind: type) -> None:
    assert type(open_backend(adapter)) is kind


class UnixListener:
    """Stands in for a listener on an L2CAP socket, which is not to be had in every place where tests run."""

    def __init__(self, *_: Any) -> None:
        self.psm = 0x80

    def close(self) -> None:
        """Nobody came."""


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pineconed.transport.ble.bluez.session.Listener", UnixListener)


def power(bench: Bench, *, on: bool) -> None:
    bench.bluez.change(HCI0, ADAPTER, Powered=Variant("b", on))


def radio_switch(bench: Bench, *, blocks: bool) -> None:
    """As rfkill does it: the kernel powers off an adapter that is blocked, and leaves it so."""
    switch = adapters.CLASS_FOLDER / "hci0" / "rfkill0"
    switch.mkdir(parents=True, exist_ok=True)
    (switch / "soft").write_text(f"{blocks:d}\n")
    power(bench, on=False)


async def crash_of_the_bus(bench: Bench) -> None:
    await bench.bus.stop()
    await bench.bluez.stop()
    await asyncio.sleep(0.3)  # in which the backend looks again, and again finds none


FIRST = ("no-service", "no connection to the system's D-Bus")

Stage = Callable[[Bench], Coroutine[Any, Any, None] | None]

STAGES: list[tuple[Stage, str, str]] = [
    (lambda bench: bench.bus.start(), "no-service", "bluetoothd does not run"),
    (lambda bench: bench.bluez.start(), "missing", "this machine has no Bluetooth adapter"),
    (
        lambda bench: bench.bluez.plug_in(SOME_OTHER),
        "missing",
        "there is no Bluetooth adapter hci0, only hci1",
    ),
    (lambda bench: bench.bluez.plug_in(powered=False), "off", "bluetoothctl power on"),
    (lambda bench: power(bench, on=True), "ready", ""),
    (lambda bench: power(bench, on=False), "off", "bluetoothctl power on"),
    (lambda bench: radio_switch(bench, blocks=True), "blocked", "rfkill unblock bluetooth"),
    (lambda bench: radio_switch(bench, blocks=False), "off", "bluetoothctl power on"),
    (lambda bench: power(bench, on=True), "ready", ""),
    (lambda bench: bench.bluez.remove(HCI0), "missing", "only hci1"),
    (lambda bench: bench.bluez.plug_in(), "ready", ""),
    (lambda bench: bench.bluez.stop(), "no-service", "bluetoothd does not run"),
    (lambda bench: bench.bluez.start(), "ready", ""),
    (crash_of_the_bus, "no-service", "D-Bus has ended"),
    (lambda bench: bench.bus.start(), "no-service", "bluetoothd does not run"),
    (lambda bench: bench.bluez.start(), "ready", ""),
]
"""What happens, and what the daemon then has to say."""


async def told(host: Host, state: str, words: str) -> BleAdapter:
    """What `pineconectl ble` has, once it is this."""
    found: list[BleAdapter] = []

    async def is_so() -> bool:
        ble = await host.ble()
        found[:] = [ble.adapter] if ble.adapter else []
        works = ble.advertising and ble.scanning and ble.psm is not None
        return (
            bool(found)
            and found[0].state == state
            and words in (found[0].reason or "")
            and (works is (state == "ready"))
        )

    await eventually(is_so)
    return found[0]


@pytest.mark.usefixtures("listening")
def test_whatever_befalls_the_adapter_is_shown_and_logged(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(bench: Bench) -> None:
        place = Place(monkeypatch, tmp_path, open_backend)
        host = place.host("a", seeds()[0])
        host.loaded = host.with_ble(host.loaded, adapter="hci0")
        async with place.running(host):
            await told(host, "no-service", "D-Bus")
            for happens, state, words in STAGES:
                if (waiting := happens(bench)) is not None:
                    await waiting
                await told(host, state, words)

    with capture_logs() as lines:
        play(scene)
    of_adapter = [line for line in lines if line["event"].startswith("Bluetooth ")]
    expected = [FIRST, *((state, words) for _, state, words in STAGES)]
    assert [line.get("state", "ready") for line in of_adapter] == [state for state, _ in expected]
    for line, (state, words) in zip(of_adapter, expected, strict=True):
        assert line["adapter"] == "hci0"
        assert words in line.get("reason", "")
        assert line["log_level"] == ("info" if state == "ready" else "warning")
