# SPDX-License-Identifier: Apache-2.0
"""What the booted machines are made of: a Debian 12 root and pineconed's package in two versions.

The root is built by mmdebstrap once and kept in `CACHE`, under a name that changes with what is in it. Machines
put a layer of their own over it and never write to it.
"""

import fcntl
import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.network.lab import run

CACHE = Path(os.environ.get("PINECONED_TEST_CACHE", "/var/cache/pineconed-tests"))
CHECKOUT = Path(__file__).resolve().parents[2]

SUITE = "bookworm"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "iproute2",
    "iputils-ping",
    "openssh-server",
    "openssh-client",
    "nftables",
    "procps",
    "adduser",
    "libstdc++6",
)


def debian_root() -> Path:
    """Folder with the root of a Debian 12 on which nothing of pineconed is; built if it is not there yet."""
    made_of = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    root = CACHE / f"{SUITE}-{made_of}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _build(root)
    return root


def _build(root: Path) -> None:
    unfinished = root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    include = f"--include={','.join(PACKAGES)}"
    run(["mmdebstrap", "--variant=minbase", include, SUITE, str(unfinished)], timeout=280.0)
    # Machines have names and identities of their own, and no keys of the builder's.
    (unfinished / "etc/machine-id").write_text("")
    (unfinished / "etc/resolv.conf").unlink(missing_ok=True)
    unfinished.rename(root)


def build_package(folder: Path) -> Path:
    """Build the package by the command that is documented, or take the file that PINECONED_DEB names."""
    if given := os.environ.get("PINECONED_DEB"):
        return Path(shutil.copy(given, folder))
    run([str(CHECKOUT / "packaging/deb"), "--out", str(folder)], timeout=280.0)
    return next(folder.glob("pineconed_*.deb"))


def next_version(package: Path, folder: Path) -> Path:
    """Rebuild a package under a higher version, which its programs show, too."""
    tree = folder / "next"
    run(["dpkg-deb", "-R", str(package), str(tree)])
    control = tree / "DEBIAN/control"
    version = re.search(r"^Version: (.*)$", control.read_text(), re.MULTILINE)
    assert version is not None
    newer = f"{version[1]}+next"
    control.write_text(control.read_text().replace(f"Version: {version[1]}\n", f"Version: {newer}\n"))
    module = next(tree.glob("usr/lib/pineconed/lib/python3*/site-packages/pineconed/__init__.py"))
    module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{newer}"', module.read_text()))
    built = folder / f"pineconed_{newer}.deb"
    run(["dpkg-deb", "-Zxz", "-z0", "-b", str(tree), str(built)], timeout=60.0)
    shutil.rmtree(tree)
    return built
