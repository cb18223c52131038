# SPDX-License-Identifier: Apache-2.0
"""The systemd units: right for systemd, tight, and with the daemon's own facts in them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pineconed.daemon.config import AdminSection, NodeSection
from pineconed.daemon.main import CONFIG_MISTAKE

UNITS = Path(__file__).parents[2] / "systemd"
NAMES = tuple(
    sorted(path.name for path in UNITS.glob("pineconed*.*") if path.suffix in {".service", ".target"})
)
PROGRAMS = ("/usr/bin/pineconed", "/usr/bin/pineconectl", "/usr/sbin/nft")
BLUETOOTH = "pineconed-bluetooth.conf"
MOST_EXPOSED = 20
"""What `systemd-analyze security` may say at most, in tenths."""

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def settings(name: str) -> dict[str, list[str]]:
    """The settings of a unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def verified(folder: Path) -> list[str]:
    """What systemd has to say of the units, copied to a folder, and of the drop-ins that are there already.

    With programs that are there, and without a look for manual pages, which need not be installed here.
    """
    for name in NAMES:
        text = (UNITS / name).read_text()
        for program in PROGRAMS:
            text = text.replace(program, "/bin/true")
        (folder / name).write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", *(str(folder / name) for name in NAMES)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if "pinecone" in line or done.returncode]


def with_bluetooth(folder: Path, more: str = "") -> Path:
    """The service in a folder, as it is once Bluetooth is enabled."""
    drop_in = folder / "pineconed.service.d" / BLUETOOTH
    drop_in.parent.mkdir()
    drop_in.write_text((UNITS / BLUETOOTH).read_text() + more)
    return Path(shutil.copy(UNITS / "pineconed.service", folder))


@needs_systemd
def test_systemd_understands_them(tmp_path: Path) -> None:
    assert verified(tmp_path) == []


@needs_systemd
def test_systemd_understands_the_drop_in_for_bluetooth(tmp_path: Path) -> None:
    with_bluetooth(tmp_path, "Nonsense=yes\n")
    [line] = verified(tmp_path)  # so it was read
    assert "Nonsense" in line


@needs_systemd
def test_only_the_drop_in_allows_bluetooth_and_nothing_else(tmp_path: Path) -> None:
    before, after = exposures(UNITS / "pineconed.service"), exposures(with_bluetooth(tmp_path))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"RestrictAddressFamilies_OTHER"}
    assert "AF_BLUETOOTH" not in str(settings("pineconed.service"))
    assert settings(BLUETOOTH) == {
        "Wants": ["bluetooth.service"],
        "After": ["bluetooth.service dbus.socket"],
        "RestrictAddressFamilies": ["AF_BLUETOOTH"],
    }


def exposures(unit: Path) -> dict[str, str]:
    """What `systemd-analyze security` makes of each setting."""
    command = ["systemd-analyze", "security", "--offline=true", "--json=short", str(unit)]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {row["json_field"]: row["exposure"] for row in json.loads(listing)}


@needs_systemd
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".service")])
def test_the_sandbox_is_tight(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}"]
    done = subprocess.run([*command, str(UNITS / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_only_right_is_to_set_up_the_network() -> None:
    unit = settings("pineconed.service")
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"] == ["CAP_NET_ADMIN"]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert settings("pineconed.service")["RestartPreventExitStatus"] == [str(CONFIG_MISTAKE)]


def test_the_default_paths_are_in_the_folders_that_systemd_makes() -> None:
    unit = settings("pineconed.service")
    [state], [runtime] = unit["StateDirectory"], unit["RuntimeDirectory"]
    assert NodeSection().key_file.parent == Path("/var/lib", state)
    assert AdminSection().socket.parent == Path("/run", runtime)
    status_path = AdminSection().status_path
    assert status_path is not None
    assert status_path.parent == Path("/run", runtime)
    assert unit["RuntimeDirectoryMode"] == ["0755"], "everybody is to reach the status socket"
