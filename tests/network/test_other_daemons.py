# SPDX-License-Identifier: Apache-2.0
"""What comes with pineconed for the other daemons of a host: they read it, and leave the interface alone."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.network.conftest import require_lab
from tests.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
NETWORKD = "/lib/systemd/systemd-networkd"

SCRIPT = f"""
set -e
mount -t tmpfs tmpfs /run/systemd
mount -t sysfs -o ro sysfs /sys
mkdir -m 777 /run/systemd/network /run/systemd/netif
cp "$1" /run/systemd/network/
printf '[Match]\\nName=*\\n[Network]\\nDHCP=yes\\n' > /run/systemd/network/90-all.network
ip tuntap add pine0 mode tun
ip tuntap add other0 mode tun
SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console timeout 3 {NETWORKD} 2>&1 || [ $? = 124 ]
"""


@pytest.mark.root
@pytest.mark.netns
@pytest.mark.slow
def test_networkd_leaves_the_interface_alone() -> None:
    """Also where another file of the host's would have it manage everything."""
    require_lab()
    require_tool(NETWORKD)
    file = ROOT / "packaging" / "networkd" / "10-pineconed.network"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "sh", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = dict(re.findall(r"(\w+): State changed: initialized -> (\w+)", done.stdout))
    assert (states["other0"], states["pine0"]) == ("configuring", "unmanaged")


def test_network_manager_is_told_the_same() -> None:
    settings = ConfigParser(delimiters="=")
    settings.read(ROOT / "packaging" / "NetworkManager" / "pineconed.conf")
    assert dict(settings["keyfile"]) == {"unmanaged-devices+": "interface-name:pine*"}


def test_apparmor_takes_the_profile() -> None:
    require_tool("apparmor_parser")
    profile = ROOT / "contrib" / "apparmor" / "usr.bin.pineconed"
    done = subprocess.run(
        ["apparmor_parser", "--skip-kernel-load", "--skip-read-cache", "--skip-cache", str(profile)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
