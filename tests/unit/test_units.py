# SPDX-License-Identifier: Apache-2.0
"""The systemd units: right for systemd, tight, and with the daemon's own facts in them."""

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


@needs_systemd
def test_systemd_understands_them(tmp_path: Path) -> None:
    """With programs that are there, and without a look for manual pages, which need not be installed here."""
    for name in NAMES:
        text = (UNITS / name).read_text()
        for program in PROGRAMS:
            text = text.replace(program, "/bin/true")
        (tmp_path / name).write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in NAMES)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "pinecone" in line]) == (0, [])


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
