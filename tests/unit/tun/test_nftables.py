# SPDX-License-Identifier: Apache-2.0
"""Whether our firewall rules are found in the kernel, with real ones in a network namespace."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pineconed.tun.nftables import look
from tests.unit.tun.namespace import in_new_namespace

RULES = Path(__file__).resolve().parents[3] / "packaging" / "nftables" / "firewall.nft"

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Our rules, with a folder for additions of their own."""
    file = tmp_path / "firewall.nft"
    file.write_text(RULES.read_text().replace("/etc/pineconed/firewall.d", str(tmp_path / "firewall.d")))
    return file


def nft(*arguments: str | Path) -> None:
    subprocess.run(["nft", *map(str, arguments)], check=True, timeout=10)


def test_without_the_table_it_is_open() -> None:
    def check() -> None:
        nft("add table inet filter")
        found = look("pine0")
        assert found.state == "open"
        assert "systemctl enable --now pineconed-firewall" in found.explanation
        assert "other firewall rules are not looked at" in found.explanation

    in_new_namespace(check)


def test_with_the_table_it_is_filtered(rules: Path) -> None:
    def check() -> None:
        nft("-f", rules)
        assert look("pine0").state == "filtered"
        assert look("pine0").explanation == "by table inet pineconed"
        nft("-f", rules)  # again, as a reload does
        assert look("pine0").state == "filtered"

    in_new_namespace(check)


def test_another_interface_has_to_be_named(rules: Path) -> None:
    addition = 'add element inet pineconed interfaces { "mesh0" }'

    def check() -> None:
        nft("-f", rules)
        found = look("mesh0")
        assert found.state == "open"
        assert addition in found.explanation
        (rules.parent / "firewall.d").mkdir()
        (rules.parent / "firewall.d" / "local.nft").write_text(addition)
        nft("-f", rules)
        assert look("mesh0").state == look("pine0").state == "filtered"

    in_new_namespace(check)


def test_all_interfaces_may_be_named_at_once(rules: Path) -> None:
    """By the element that matches what no other does (nft(8))."""

    def check() -> None:
        nft("-f", rules)
        nft("add element inet pineconed interfaces { * }")
        assert look("mesh0").state == look("pine0").state == "filtered"

    in_new_namespace(check)


@pytest.mark.parametrize(
    "change",
    [
        "flush chain inet pineconed input",
        "flush chain inet pineconed overlay",
        "add table inet pineconed { flags dormant; }",
        "delete table inet pineconed; add table inet pineconed",
        "delete chain inet pineconed input; add chain inet pineconed input { counter; }",
    ],
)
def test_a_table_that_does_not_filter_is_not_believed(rules: Path, change: str) -> None:
    def check() -> None:
        nft("-f", rules)
        nft(change)
        found = look("pine0")
        assert found.state == "open"
        assert "does not filter; to mend it: systemctl reload pineconed-firewall" in found.explanation

    in_new_namespace(check)


def test_without_the_permission_it_is_unknown() -> None:
    code = "from pineconed.tun.nftables import look; print(look('pine0'))"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "state='unknown'" in done.stdout, done.stderr
    assert "CAP_NET_ADMIN" in done.stdout
