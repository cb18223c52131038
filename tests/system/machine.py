# SPDX-License-Identifier: Apache-2.0
"""Machines with a systemd of their own, booted for a test by systemd-nspawn and gone after it.

A `Machine` is a Debian root in memory with its own processes, network, control groups and devices, which
commands enter by nsenter. Every wait has an end. When the test process dies, the kernel ends the
machine with it.
"""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.network.lab import LabError, run, wait_until

BOOT = Path(__file__).with_name("boot")
_numbers = itertools.count(1)


class Machine:
    """One booted machine; a context manager."""

    def __init__(self, label: str, root: Path, shared: Path, logs: Path) -> None:
        number = next(_numbers)
        self.label = label
        self.name = f"pcsys-{os.getpid()}-{number}"
        self._console = logs / f"{label}.console"
        argv = ["setpriv", "--pdeathsig", "KILL", str(BOOT), str(root), self.name, self.name, str(shared)]
        with self._console.open("wb") as console:
            self._boot = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_booted()
        except BaseException:
            self.close()
            raise

    def _wait_booted(self) -> None:
        self.init = self._find_init()
        states = ("running", "degraded")
        wait_until(lambda: self.attempt("systemctl", "is-system-running")[1].strip() in states, 60, self.tell)

    def reboot(self) -> None:
        """Shut down in order and boot anew, with the same files; cables are gone after it."""
        old = Path(f"/proc/{self.init}")
        self.attempt("systemctl", "reboot")
        wait_until(lambda: not old.exists(), 60, self.tell)
        self._wait_booted()

    def _find_init(self) -> int:
        found: list[int] = []

        def booted() -> bool:
            if self._boot.poll() is not None:
                raise LabError(f"{self.label} did not boot:\n{self.tell()}")
            with contextlib.suppress(OSError):  # between two looks one of them may be replaced
                found.extend(
                    init
                    for nspawn in children(self._boot.pid)
                    for init in children(nspawn)
                    if Path(f"/proc/{init}/comm").read_text() == "systemd\n"
                )
            return bool(found)

        wait_until(booted, 30, self.tell)
        return found[0]

    def tell(self) -> str:
        """What was seen on the console, for those who look for the reason of a failure."""
        return self._console.read_text(errors="replace")[-3000:]

    def attempt(self, *argv: str, timeout: float = 60.0, stdin: str | None = None) -> tuple[int, str]:
        """Run a command inside; its exit code and all that it printed."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.init), "--all", "--wd=/", "--", *argv],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        return done.returncode, done.stdout

    def run(self, *argv: str, timeout: float = 60.0, stdin: str | None = None) -> str:
        """Run a command inside and return what it printed; LabError, with the journal, when it fails."""
        code, text = self.attempt(*argv, timeout=timeout, stdin=stdin)
        if code != 0:
            journal = self.attempt("journalctl", "--no-pager", "--lines=40", "--output=short-monotonic")[1]
            raise LabError(f"{self.label}: {' '.join(argv)}: exit code {code}\n{text}\n{journal}")
        return text

    def path(self, name: str) -> Path:
        """A file of the machine, as seen from outside."""
        return Path(f"/proc/{self.init}/root") / name.lstrip("/")

    def install(self, package: Path) -> str:
        """Install a package from the shared folder, with nobody there to answer questions."""
        shared = f"/srv/shared/{package.name}"
        return self.run(
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "--yes",
            "--quiet",
            shared,
            timeout=120.0,
        )

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemd says of a unit."""
        lines = self.run("systemctl", "show", unit, f"--property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def main_pid(self) -> int:
        """Process id of the daemon, as seen inside; 0 if it does not run."""
        return int(self.properties("pineconed", "MainPID")["MainPID"])

    def status(self) -> Any:
        """What `pineconectl status` tells, as an object."""
        return json.loads(self.run("pineconectl", "status", "--json"))

    def address(self) -> str:
        """The overlay address, as the daemon has it."""
        return str(self.status()["address"])

    def pings(self, address: str) -> bool:
        """Whether one echo comes back within a second."""
        return self.attempt("ping", "-6", "-c", "1", "-W", "1", address)[0] == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the machine with all that runs in it, and remove its control groups."""
        init = getattr(self, "init", None)
        for pid in [init] if init else [self._boot.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self._boot.wait(20)
        except subprocess.TimeoutExpired:
            self._boot.kill()
            self._boot.wait(10)
        remove_groups(self.name)


def children(process: int) -> list[int]:
    """Process ids of the processes that this one has started itself."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def link(a: Machine, b: Machine, network: str) -> tuple[str, str]:
    """Join two machines by a cable; `network` is such as 10.9.0. Returns the address of each."""
    device = f"c{next(_numbers)}"
    run(
        [
            "ip",
            "link",
            "add",
            device,
            "netns",
            str(a.init),
            "type",
            "veth",
            "peer",
            device,
            "netns",
            str(b.init),
        ]
    )
    addresses = (f"{network}.1", f"{network}.2")
    for machine, address in zip((a, b), addresses, strict=True):
        machine.run("ip", "address", "add", f"{address}/24", "dev", device)
        machine.run("ip", "link", "set", device, "up")
    return addresses


def remove_groups(name: str) -> None:
    """Remove the control groups of a machine that has ended; they are empty, but may take a moment to be."""
    script = (
        "mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && "
        'cd /sys/fs/cgroup && if [ -d "$1" ]; then find "$1" -depth -type d -exec rmdir {} +; fi'
    )
    argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", name]

    def removed() -> bool:
        return subprocess.run(argv, capture_output=True, check=False, timeout=10).returncode == 0

    wait_until(removed, 10, f"the control groups of {name} cannot be removed")


def listing(machine: Machine) -> set[str]:
    """Names of all files that are kept when a machine is switched off."""
    found = machine.run(
        "find", "/", "-xdev", "-not", "-path", "/srv/*", "-not", "-path", "/var/log/journal/*"
    )
    return {
        line for line in found.splitlines() if not re.match(r"/(proc|sys|dev|run|tmp|var/tmp)(/|$)", line)
    }
