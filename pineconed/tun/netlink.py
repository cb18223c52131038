# SPDX-License-Identifier: Apache-2.0
"""Address, MTU and route of the TUN device, by netlink.

pyroute2 brings an event loop of its own and fails inside a running one, so these functions block and belong
into a thread (`asyncio.to_thread`). Each takes a few milliseconds.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pineconed.tun.errors import TunError

MIN_MTU = 1280
"""Below this the kernel turns IPv6 off."""

MAX_MTU = 65535
PREFIX_LENGTH = 8
ROUTE_METRIC = 4096
"""Worse than the kernel's own routes (256), so that ours yields to any equal one."""

UNIQUE_LOCAL = ipaddress.IPv6Network("fd00::/8")

_IFA_F_NODAD = 0x02
_IFA_F_NOPREFIXROUTE = 0x200
_ADDR_GEN_MODE_NONE = 1
_RT_TABLE_LOCAL = 255
_ROUTE_KINDS = {1: "via {device}", 6: "(blackhole)", 7: "(unreachable)", 8: "(prohibit)"}
"""The kinds of route (RTN_*) that carry or refuse packets to others, and how they are named."""


def configure(name: str, address: bytes, mtu: int, *, route: bool, gso_max_size: int | None = None) -> None:
    """Bring the device up with this MTU and overlay address (16 bytes) and no other, without DAD.

    With `route` all of fd00::/8 goes to the device at metric 4096. `gso_max_size` bounds, in bytes, the
    super-packets that the kernel makes for it, if the kernel can be told. TunError when the kernel refuses.
    """
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise TunError(f"{name} cannot have MTU {mtu}", f"take an MTU from {MIN_MTU} to {MAX_MTU}")
    _allow_ipv6(name)
    text = str(ipaddress.IPv6Address(address))
    try:
        with IPRoute() as netlink:
            index = socket.if_nametoindex(name)
            netlink.link("set", index=index, mtu=mtu, **_no_link_local())
            if gso_max_size is not None:
                with suppress(NetlinkError):  # then longer ones are cut
                    netlink.link("set", index=index, gso_max_size=gso_max_size)
            netlink.link("set", index=index, state="up")
            netlink.addr(
                "add",
                index=index,
                family=socket.AF_INET6,
                address=text,
                prefixlen=PREFIX_LENGTH,
                flags=_IFA_F_NODAD | _IFA_F_NOPREFIXROUTE,
            )
            if route:
                _add_route(netlink, name, index, text)
    except (NetlinkError, OSError) as error:
        raise _explained(name, error) from error


def foreign_unique_locals(name: str) -> list[str]:
    """Other addresses and routes of this host inside fd00::/8, in words, without those of device `name`.

    They share the range with the overlay: a site that uses them may find its packets in the overlay.
    TunError when the kernel does not tell.
    """
    try:
        with IPRoute() as netlink:
            devices = {link["index"]: link.get("ifname") for link in netlink.get_links()}
            found = [*_addresses(netlink, devices, name), *_routes(netlink, devices, name)]
    except (NetlinkError, OSError) as error:
        raise TunError(
            f"cannot list the addresses of this host: {error}", "see whether ip -6 addr works"
        ) from error
    return sorted(set(found))


def _add_route(netlink: IPRoute, name: str, index: int, address: str) -> None:
    """Send all of fd00::/8 to the device. TunError when another device, such as another node's, has it."""
    route = {"dst": str(UNIQUE_LOCAL), "oif": index, "priority": ROUTE_METRIC, "prefsrc": address}
    try:
        netlink.route("add", family=socket.AF_INET6, **route)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        raise TunError(
            f"cannot send {UNIQUE_LOCAL} to {name}: there is such a route already (ip -6 route show "
            f"{UNIQUE_LOCAL}), perhaps of another pineconed",
            "stop what made it, or set tun.route = false and add the routes that you want",
        ) from error


def _no_link_local() -> dict[str, Any]:
    """The part of a link message that keeps the kernel from making up an fe80:: address."""
    mode = ("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)
    return {"IFLA_AF_SPEC": {"attrs": [("AF_INET6", {"attrs": [mode]})]}}


def _allow_ipv6(name: str) -> None:
    """Turn IPv6 on for the device, router solicitations off. If /proc is read-only, the rest will tell."""
    settings = Path("/proc/sys/net/ipv6/conf") / name
    if Path("/proc/sys/net").is_dir() and not settings.is_dir():
        raise TunError(
            "this kernel has IPv6 turned off", "boot without ipv6.disable=1, or run with --tun none"
        )
    for setting in ("disable_ipv6", "accept_ra", "router_solicitations"):
        try:
            (settings / setting).write_text("0")
        except OSError:
            continue


def _addresses(netlink: IPRoute, devices: dict[int, str], own: str) -> Iterator[str]:
    for message in netlink.get_addr(family=socket.AF_INET6):
        device = devices.get(message["index"], "?")
        address = ipaddress.IPv6Address(message.get("address"))
        if device != own and address in UNIQUE_LOCAL:
            yield f"address {address}/{message['prefixlen']} on {device}"


def _routes(netlink: IPRoute, devices: dict[int, str], own: str) -> Iterator[str]:
    for message in netlink.get_routes(family=socket.AF_INET6):
        kind, device = _ROUTE_KINDS.get(message["type"]), devices.get(message.get("oif"), "?")
        destination = message.get("dst")
        if kind is None or destination is None or message.get("table") == _RT_TABLE_LOCAL or device == own:
            continue
        network = ipaddress.IPv6Network((destination, message["dst_len"]))
        if network.prefixlen >= UNIQUE_LOCAL.prefixlen - 1 and network.overlaps(UNIQUE_LOCAL):
            yield f"route {network} {kind.format(device=device)}"


def _explained(name: str, error: Exception) -> TunError:
    """What an error of netlink means to the operator."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if code in {errno.EPERM, errno.EACCES}:
        return TunError(
            f"no permission to configure {name}",
            "run as root, give the process CAP_NET_ADMIN, or run with --tun none",
        )
    reason = os.strerror(code) if code else str(error)
    return TunError(f"cannot configure {name}: {reason}", "run with --tun none to go without")
