# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that boot machines and install the Debian package in them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.network.lab import run, wait_until
from tests.system.debian import next_version
from tests.system.machine import Machine, link

TOOLS = ("systemd-nspawn", "mmdebstrap", "dpkg-deb", "dpkg-buildpackage", "nsenter", "ip")
LISTEN = 'listen = ["tcp://[::]:4444"]\n'


@dataclass(frozen=True)
class Packages:
    """The package that this tree builds, the same under a higher version, and the folder with both."""

    folder: Path
    this: Path
    next: Path


@dataclass(frozen=True)
class Pair:
    """Two machines on one cable, peers and reached by the overlay: `far` has dialled `near`."""

    near: Machine
    far: Machine


def missing() -> str | None:
    """Say what this computer lacks for booting machines, or None."""
    if os.geteuid() != 0:
        return "booting machines needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"commands not found: {', '.join(absent)}"
    return None if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


@pytest.fixture(scope="session")
def prepared() -> tuple[Path, Path]:
    """The root of a Debian 12 and the package that this tree builds."""
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI must run this test: {reason}")
    if reason:
        pytest.skip(reason)
    root, package = run([str(Path(__file__).with_name("prepare"))], timeout=500.0).splitlines()
    return Path(root), Path(package)


@pytest.fixture(scope="session")
def root(prepared: tuple[Path, Path]) -> Path:
    """A Debian 12 root to put machines over."""
    return prepared[0]


@pytest.fixture(scope="session")
def packages(prepared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The package, and a second one to upgrade to."""
    folder = tmp_path_factory.mktemp("packages")
    folder.chmod(0o755)  # apt reads it as a user of its own
    this = Path(shutil.copy(prepared[1], folder))
    return Packages(folder, this, next_version(this, folder))


@pytest.fixture(scope="module")
def pair(root: Path, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two machines with the package installed and the service started, which reach each other."""
    logs = tmp_path_factory.mktemp("machines")
    with ExitStack() as stack:
        near, far = (
            stack.enter_context(Machine(label, root, packages.folder, logs)) for label in ("near", "far")
        )
        address, _ = link(near, far, "10.9.0")
        for machine in (near, far):
            machine.install(packages.this)
        configure(near, LISTEN)
        configure(far, f'connect = ["tcp://{address}:4444"]\n')
        for machine in (near, far):
            machine.run("systemctl", "start", "pineconed")
        yield reached(Pair(near, far))


def configure(machine: Machine, text: str) -> None:
    """Put settings in front of those that the package wrote; peerings come about by them alone."""
    path = machine.path("/etc/pineconed/pineconed.toml")
    quiet = path.read_text().replace("[multicast]\n", "[multicast]\nenabled = false\n")
    path.write_text(text + quiet)


def reached(pair: Pair) -> Pair:
    """Wait until both machines reach each other's overlay address."""
    near, far = pair.near.address(), pair.far.address()
    wait_until(lambda: pair.far.pings(near) and pair.near.pings(far), 30, "a ping over the overlay")
    return pair
