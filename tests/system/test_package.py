# SPDX-License-Identifier: Apache-2.0
"""The Debian package on a booted machine: installation, upgrade, removal, purge; and lintian."""

import re
import shutil
from pathlib import Path

import pytest

from tests.network.lab import run
from tests.system.conftest import LISTEN, Packages, configure
from tests.system.machine import Machine, listing

pytestmark = [pytest.mark.system, pytest.mark.timeout(580)]

CONFIG = "/etc/pineconed/pineconed.toml"
KEY = "/var/lib/pineconed/node.key"
DROP_INS = "/etc/systemd/system/pineconed.service.d"


def test_lintian_finds_nothing_wrong(packages: Packages) -> None:
    assert shutil.which("lintian"), "lintian is missing"
    print(f"size of the package: {packages.this.stat().st_size / 1e6:.1f} MB")
    run(["lintian", "--allow-root", "--fail-on", "error,warning", str(packages.this)], timeout=120)


def test_install_upgrade_remove_purge(root: Path, packages: Packages, tmp_path: Path) -> None:
    with Machine("fresh", root, packages.folder, tmp_path) as machine:
        before = listing(machine)
        machine.install(packages.this)
        installed(machine)
        upgraded(machine, packages)
        removed(machine)
        machine.install(packages.this)
        machine.run("systemctl", "enable", "--now", "pineconed", "pineconed-firewall")
        assert there(machine) == ["process", "interface", "rules", "runtime files", "unit"]
        machine.run("apt-get", "purge", "--yes", "--quiet", "pineconed", timeout=120)
        assert there(machine) == []
        left = sorted(listing(machine) - before)
        print("left after purge:", left)
        assert not [name for name in left if not kept_by_debian(name)]
        assert machine.run("getent", "passwd", "pineconed"), "the system user stays"


def kept_by_debian(name: str) -> bool:
    """Whether a file that was not there before the installation may be there after the purge."""
    tools = (
        "/var/lib/dpkg/",
        "/var/cache/apt/",
        "/var/lib/apt/",
        "/var/log/",
        "/var/lib/systemd/",
        "/etc/.pwd.lock",
    )
    users = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")
    # Python keeps what it compiles of its own library.
    compiled = name.startswith("/usr/lib/python3") and "__pycache__" in name
    return "pinecone" not in name and (compiled or name.startswith((*tools, *users)))


def there(machine: Machine) -> list[str]:
    """What of a package that runs, and not of one that is purged, is there."""
    checks = {
        "process": machine.attempt("pgrep", "-u", "pineconed")[0] == 0,
        "interface": machine.attempt("ip", "link", "show", "pine0")[0] == 0,
        "rules": machine.attempt("nft", "list", "table", "inet", "pineconed")[0] == 0,
        "runtime files": machine.path("/run/pineconed").exists(),
        "unit": machine.attempt("systemctl", "cat", "pineconed")[0] == 0,
    }
    return [name for name, found in checks.items() if found]


def installed(machine: Machine) -> None:
    """Nothing runs before the operator has had a look; the configuration is there and not for everybody."""
    assert machine.main_pid() == 0
    assert machine.attempt("systemctl", "is-enabled", "pineconed")[1].strip() == "disabled"
    assert machine.run("stat", "-c", "%U:%G %a", CONFIG).strip() == "root:pineconed 640"
    assert "is right" in machine.run("pineconed", "check-config")
    for name in ("man1/pineconectl.1.gz", "man8/pineconed.8.gz", "man5/pineconed.toml.5.gz"):
        assert name in machine.run("dpkg", "-L", "pineconed")
    bluetooth_enabled(machine)
    configure(machine, LISTEN)
    machine.run("systemctl", "enable", "--now", "pineconed")
    assert machine.path("/etc/systemd/system/multi-user.target.wants/pineconed.service").is_symlink()
    assert machine.run("stat", "-c", "%U:%G %a", KEY).strip() == "pineconed:pineconed 600"
    for name in (
        "share/bash-completion/completions/pineconectl",
        "share/zsh/vendor-completions/_pineconectl",
        "share/fish/vendor_completions.d/pineconectl.fish",
        "share/doc/pineconed/docs/installation.md",
        "lib/NetworkManager/conf.d/pineconed.conf",
    ):
        assert machine.path(f"/usr/{name}").stat().st_size, name
    assert machine.path("/lib/systemd/network/10-pineconed.network").exists()


def bluetooth_enabled(machine: Machine) -> None:
    """The library for BlueZ is there, and one command allows the service what Bluetooth takes."""
    machine.run("/usr/lib/pineconed/bin/python3", "-I", "-c", "import pineconed.transport.ble.bluez")
    families = ("systemctl", "show", "--property=RestrictAddressFamilies", "pineconed")
    assert "AF_BLUETOOTH" not in machine.run(*families)
    machine.run("install", "-D", "-m", "644", "-t", DROP_INS, "/usr/share/pineconed/pineconed-bluetooth.conf")
    machine.run("systemctl", "daemon-reload")
    assert {"AF_BLUETOOTH", "AF_NETLINK"} <= set(re.findall(r"\bAF_\w+", machine.run(*families)))


def upgraded(machine: Machine, packages: Packages) -> None:
    """An upgrade restarts the service, enabled as it was, with the key and the configuration that it had."""
    address, key = machine.address(), machine.path(KEY).read_bytes()
    config, old = machine.path(CONFIG).read_bytes(), machine.main_pid()
    older = machine.run("pineconed", "version")
    machine.install(packages.next)
    assert machine.run("pineconed", "version") == f"{older.strip()}+next\n"
    assert machine.main_pid() not in {0, old}
    assert machine.status()["version"].endswith("+next"), "the new program runs"
    assert (machine.address(), machine.path(KEY).read_bytes()) == (address, key)
    assert machine.path(CONFIG).read_bytes() == config
    assert machine.run("systemctl", "is-enabled", "pineconed").strip() == "enabled"

    machine.run("systemctl", "stop", "pineconed")
    machine.run("dpkg", "--install", f"/srv/shared/{packages.next.name}", timeout=120)
    assert machine.main_pid() == 0, "what was stopped stays so"
    machine.run("systemctl", "start", "pineconed")


def removed(machine: Machine) -> None:
    """Removal ends the service and keeps what the operator made."""
    machine.run("apt-get", "remove", "--yes", "--quiet", "pineconed", timeout=120)
    assert machine.attempt("pgrep", "-u", "pineconed")[0] != 0
    assert not machine.path("/usr/lib/pineconed").exists()
    assert machine.path(KEY).exists()
    assert machine.path(CONFIG).exists()
