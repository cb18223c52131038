# SPDX-License-Identifier: Apache-2.0
"""Address, MTU and route of the device as the ip command shows them, and other unique local addresses."""

import asyncio
import errno
import ipaddress
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pyroute2.netlink.exceptions import NetlinkError

from pineconed.tun import netlink
from pineconed.tun.attach import foreign_unique_locals, open_tun
from pineconed.tun.device import TunDevice
from pineconed.tun.errors import TunError
from tests.unit.tun.namespace import in_new_namespace, ip

ADDRESS = ipaddress.IPv6Address("fd12:3456:789a:bcde:f012:3456:789a:bcde")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def link_of(name: str) -> dict[str, Any]:
    (link,) = json.loads(ip("-j", "-d", "addr", "show", "dev", name))
    return dict(link)


def open_one(
    name: str = "auto",
    mtu: int = 65000,
    *,
    route: bool = True,
    offload: bool = False,
    loop: Callable[[], Any] = LOOPS[0],
) -> TunDevice:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(open_tun(name, ADDRESS.packed, mtu, route=route, offload=offload))


@pytest.mark.netns
@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_device_comes_up_with_one_address_and_a_modest_route(loop: Callable[[], Any]) -> None:
    def check() -> None:
        device = open_one(loop=loop)
        link = link_of(device.name)
        assert (link["ifname"], link["mtu"]) == ("pine0", 65000)
        assert "UP" in link["flags"]
        (address,) = link["addr_info"]
        assert (address["local"], address["prefixlen"], address["scope"]) == (str(ADDRESS), 8, "global")
        assert address["nodad"] is True
        assert "tentative" not in address
        (route,) = json.loads(ip("-j", "-6", "route", "show", "dev", device.name))
        assert (route["dst"], route["metric"], route["prefsrc"]) == ("fd00::/8", 4096, str(ADDRESS))
        settings = Path("/proc/sys/net/ipv6/conf/pine0")
        assert (settings / "accept_ra").read_text().strip() == "0"
        assert (settings / "router_solicitations").read_text().strip() == "0"
        device.close()
        assert ip("-6", "route") == ""

    in_new_namespace(check)


@pytest.mark.netns
def test_what_the_kernel_leaves_uncut_fits_a_frame() -> None:
    def check() -> None:
        with_offload, without = open_one(offload=True), open_one(route=False)
        assert link_of(with_offload.name)["gso_max_size"] == 60000
        assert link_of(without.name)["gso_max_size"] == 65536
        for device in (with_offload, without):
            device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_a_size_that_the_kernel_refuses_is_no_obstacle() -> None:
    def check() -> None:
        device = TunDevice("auto", offload=True)
        netlink.configure(device.name, ADDRESS.packed, 1280, route=True, gso_max_size=1 << 20)
        assert link_of(device.name)["gso_max_size"] == 65536
        assert "dev pine0" in ip("-6", "route", "get", "fd99::1")
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_packets_to_the_overlay_go_to_the_device_and_back_to_us_do_not() -> None:
    def check() -> None:
        device = open_one(name="overlay", mtu=1280)
        assert "dev overlay" in ip("-6", "route", "get", "fd99::1")
        assert "dev lo" in ip("-6", "route", "get", str(ADDRESS))
        assert link_of("overlay")["mtu"] == 1280
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_without_route_there_is_only_the_address() -> None:
    def check() -> None:
        device = open_one(route=False)
        assert link_of(device.name)["addr_info"][0]["prefixlen"] == 8
        assert ip("-6", "route", "show", "dev", device.name) == ""
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_ipv6_is_turned_on_where_the_host_turns_it_off() -> None:
    def check() -> None:
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        device = open_one()
        assert link_of(device.name)["addr_info"][0]["local"] == str(ADDRESS)
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_a_read_only_proc_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    def check() -> None:
        monkeypatch.setattr(Path, "write_text", refuse)
        device = open_one()
        assert link_of(device.name)["addr_info"][0]["local"] == str(ADDRESS)
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
@pytest.mark.parametrize("mtu", [1279, 65536])
def test_a_bad_mtu_says_so_and_leaves_no_device(mtu: int) -> None:
    def check() -> None:
        with pytest.raises(TunError, match=f"MTU {mtu}; take an MTU from 1280 to 65535"):
            open_one(mtu=mtu)
        assert "pine0" not in ip("link")

    in_new_namespace(check)


@pytest.mark.netns
def test_a_device_that_is_gone_says_so() -> None:
    def check() -> None:
        with pytest.raises(TunError, match="IPv6 turned off"):
            netlink.configure("nowhere", ADDRESS.packed, 65000, route=True)

    in_new_namespace(check)


@pytest.mark.netns
def test_what_the_kernel_refuses_says_so() -> None:
    def check() -> None:
        device = open_one()
        with pytest.raises(TunError, match=r"cannot configure pine0: File exists; "):
            netlink.configure(device.name, ADDRESS.packed, 65000, route=True)
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_the_route_of_another_node_on_this_host_says_so_and_leaves_no_device() -> None:
    def check() -> None:
        other = open_one(name="pine1")
        with pytest.raises(TunError, match=r"fd00::/8 to pine0: there is such a route already .* tun\.route"):
            open_one(name="pine0")
        assert "pine0" not in ip("link")
        other.close()

    in_new_namespace(check)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            NetlinkError(errno.EPERM, "Operation not permitted"),
            "no permission to configure pine0; run as root",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "no permission to configure pine0; run as root"),
        (
            OSError(errno.ENODEV, "No such device"),
            r"cannot configure pine0: No such device; run with --tun none",
        ),
    ],
)
def test_other_refusals_of_the_kernel(error: OSError, words: str) -> None:
    with pytest.raises(TunError, match=words):
        raise netlink._explained("pine0", error)


# ---------------------------------------------------------------- other unique local addresses


@pytest.mark.netns
@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_host_without_other_unique_locals_has_nothing_to_warn_of(loop: Callable[[], Any]) -> None:
    def check() -> None:
        device = open_one(loop=loop)
        ip("link", "add", "site", "type", "veth", "peer", "name", "other")
        ip("link", "set", "site", "up")
        ip("-6", "addr", "add", "2001:db8::1/64", "dev", "site", "nodad")
        ip("-6", "route", "add", "default", "via", "2001:db8::2", "dev", "site")
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(foreign_unique_locals(device.name)) == []
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_other_unique_locals_are_named() -> None:
    def check() -> None:
        device = open_one()
        ip("link", "add", "site", "type", "veth", "peer", "name", "other")
        ip("link", "set", "site", "up")
        ip("link", "set", "other", "up")
        ip("-6", "addr", "add", "fd00:1::7/64", "dev", "site", "nodad")
        ip("-6", "route", "add", "fdaa::/16", "dev", "site")
        ip("-6", "route", "add", "fdbb::1", "dev", "site", "table", "77")
        ip("-6", "route", "add", "unreachable", "fdcc::/16")
        ip("-6", "route", "add", "fc00::/7", "dev", "site")
        assert netlink.foreign_unique_locals(device.name) == [
            "address fd00:1::7/64 on site",
            "route fc00::/7 via site",
            "route fd00:1::/64 via site",
            "route fdaa::/16 via site",
            "route fdbb::1/128 via site",
            "route fdcc::/16 (unreachable)",
        ]
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_a_kernel_that_does_not_tell_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise NetlinkError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(netlink, "_addresses", refuse)
    with pytest.raises(TunError, match="cannot list the addresses"):
        netlink.foreign_unique_locals("pine0")


@pytest.mark.netns
def test_nothing_is_left_of_a_device_that_could_not_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TunError("no", "try again")

    def check() -> None:
        monkeypatch.setattr(netlink, "configure", refuse)
        with pytest.raises(TunError):
            open_one()
        assert "pine0" not in ip("link")

    in_new_namespace(check)


@pytest.mark.netns
def test_the_device_goes_with_its_process() -> None:
    script = """
        import asyncio, sys
        from pineconed.tun.attach import open_tun
        device = asyncio.run(open_tun("auto", bytes.fromhex(sys.argv[1]), 65000, route=True))
        print(device.name, flush=True)
        sys.stdin.read()
    """

    def check() -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), ADDRESS.packed.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"pine0\n"
            assert "pine0" in ip("link")
            holder.kill()
        assert "pine0" not in ip("link")

    in_new_namespace(check)
