# SPDX-License-Identifier: Apache-2.0
"""The parts of the lab's machine: bluetoothd, the adapters, and nodes that peer over them."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pineconed.admin.client import AdminClient, ClientError

BLUETOOTHD = "/usr/libexec/bluetooth/bluetoothd"
ADAPTERS = Path("/sys/class/bluetooth")
KERNEL_WORK = Path("/sys/devices/virtual/workqueue/cpumask")

SETTLING = 2.0
"""Seconds that the kernel takes to set up adapters: bluetoothd overlooks one that is not done."""

TRIES = 4

# As in the systemd unit with the drop-in: no root, no right but to set up the interface.
UNPRIVILEGED = [
    "setpriv",
    "--reuid=pineconed",
    "--regid=pineconed",
    "--clear-groups",
    "--bounding-set=-all,+net_admin",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=-all,+net_admin",
    "--no-new-privs",
]


class TooLateError(Exception):
    """Something did not come about."""


def tell(**result: Any) -> None:
    """Give a result to the test outside."""
    print("LAB", json.dumps(result), flush=True)


def wait_until(what: str, true: Callable[[], object], seconds: float = 120.0) -> float:
    """Wait for something, and return how long it took in seconds."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise TooLateError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


def run(command: str) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise TooLateError(f"{command}: {done.stderr or done.stdout}")
    return done.stdout


class Bluetoothd:
    """The Bluetooth daemon."""

    def __init__(self) -> None:
        with Path("/run/bluetoothd.log").open("a") as log:
            self._process = subprocess.Popen([BLUETOOTHD, "--nodetach"], stdout=log, stderr=log)

    def kill(self) -> None:
        """As a crash ends it."""
        self._process.kill()
        self._process.wait()

    def residents(self) -> int:
        """Its memory, in bytes."""
        return residents(self._process.pid)


def start_bluetooth() -> Bluetoothd:
    """Start two controllers joined by BlueZ's emulator, and bluetoothd on them.

    The kernel gives a controller up that does not answer within 2 s, which happens on a busy machine.

    The emulator tells what a scan finds in the moment in which it begins, and once only, while the kernel
    drops it until it has noted that the scan has begun. On one processor the kernel's work comes first.
    """
    KERNEL_WORK.write_text("1")
    for _ in range(TRIES):
        emulator = subprocess.Popen(["taskset", "-c", "0", "btvirt", "-L", "-l2"], stdout=subprocess.DEVNULL)
        bluetoothd = None
        with contextlib.suppress(TooLateError):
            wait_until("two adapters", lambda: len(list(ADAPTERS.glob("hci?"))) == 2, 10)
            time.sleep(SETTLING)
            bluetoothd = Bluetoothd()
            wait_until("bluetoothd has both adapters", _serves, 15)
            return bluetoothd
        if bluetoothd is not None:
            bluetoothd.kill()
        emulator.kill()
        emulator.wait()
    raise TooLateError("two adapters in bluetoothd")


def _serves() -> bool:
    with contextlib.suppress(TooLateError):
        return known_objects("Adapter1") == 2
    return False


def set_powered(adapter: str, *, on: bool) -> None:
    """Power an adapter on or off, as bluetoothctl does."""
    run(
        f"dbus-send --system --print-reply --dest=org.bluez /org/bluez/{adapter} "
        "org.freedesktop.DBus.Properties.Set string:org.bluez.Adapter1 string:Powered "
        f"variant:boolean:{str(on).lower()}"
    )


def known_objects(kind: str) -> int:
    """How many adapters (`Adapter1`) or devices (`Device1`) bluetoothd has."""
    listing = run(
        "dbus-send --system --print-reply --dest=org.bluez / "
        "org.freedesktop.DBus.ObjectManager.GetManagedObjects"
    )
    return listing.count(f'"org.bluez.{kind}"')


class Node:
    """One daemon on one adapter; its interface has its name, and is in the namespace, if one is given.

    Bluetooth is in the first namespace only, so the daemon stays there and just its interface moves.
    """

    def __init__(self, name: str, adapter: str, namespace: str | None = None) -> None:
        self.name = name
        self.adapter = adapter
        self.namespace = namespace
        self.folder = Path(f"/run/{name}")
        self.folder.mkdir()
        self.log = self.folder / "log"
        (self.folder / "pineconed.toml").write_text(
            f'[node]\nkey_file = "{self.folder}/node.key"\n[tun]\nname = "{name}"\n'
            f"route = {str(not namespace).lower()}\n[multicast]\nenabled = false\n"
            f'[admin]\nsocket = "{self.folder}/admin.sock"\n[ble]\nenabled = true\nadapter = "{adapter}"\n'
        )
        run(f"chown -R pineconed:pineconed {self.folder}")
        if namespace:
            run(f"ip netns add {namespace}")
            run(f"ip -n {namespace} link set lo up")
        self.api = AdminClient(f"{self.folder}/admin.sock")

    def start(self) -> None:
        """Start the daemon."""
        program = ["python3", "-c", "from pineconed.daemon.main import main; main()"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*UNPRIVILEGED, *program, "--config", f"{self.folder}/pineconed.toml"], stdout=log, stderr=log
            )

    def kill(self) -> None:
        """As a crash ends it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an operator stops it; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def ask(self, path: str) -> Any:
        """What the admin API answers; None if the daemon is not up."""
        with contextlib.suppress(ClientError):
            return json.loads(self.api.get(path))
        return None

    def place_interface(self) -> str:
        """Move the interface to the node's namespace; the node's address."""
        address = str(self.ask("/v1/status")["address"])
        if self.namespace:
            run(f"ip link set {self.name} netns {self.namespace}")
            run(f"ip -n {self.namespace} address add {address}/8 dev {self.name} nodad")
            run(f"ip -n {self.namespace} link set {self.name} mtu 65000 up")
        return address

    def peered(self) -> bool:
        """Whether there is a peering by Bluetooth through which the tree has come."""
        peers = self.ask("/v1/peers") or []
        return any(peer["type"] == "bluetooth" and peer["announced"] for peer in peers)

    def ready(self) -> bool:
        """Whether the daemon is up."""
        return self.ask("/v1/status") is not None

    def descriptors(self) -> int:
        """How many files and sockets the daemon has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def residents(self) -> int:
        """Its memory, in bytes."""
        return residents(self.process.pid)


def residents(process: int) -> int:
    """The memory of a process, in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
