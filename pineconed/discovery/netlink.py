# SPDX-License-Identifier: Apache-2.0
"""Lists the interfaces of this host by netlink.

pyroute2 brings an event loop of its own and fails inside a running one, so this belongs into a thread.
"""

import ipaddress
import socket
from collections import defaultdict
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pineconed.discovery.interfaces import Interface, IpInterface

_NOT_YET_OR_NEVER = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED: nothing can be bound to such an IPv6 address."""


def scan_interfaces() -> tuple[Interface, ...]:
    """All interfaces with their addresses, by index. OSError when the kernel does not tell."""
    try:
        with IPRoute() as netlink:
            links = [(link["index"], link.get("ifname"), link["flags"]) for link in netlink.get_links()]
            addresses = _addresses(netlink)
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return tuple(
        Interface(name, index, flags, tuple(addresses[index])) for index, name, flags in sorted(links)
    )


def _addresses(netlink: IPRoute) -> dict[int, list[IpInterface]]:
    """The addresses that can be used, by interface, in the kernel's order."""
    found: dict[int, list[IpInterface]] = defaultdict(list)
    for message in netlink.get_addr():
        if message["family"] in {socket.AF_INET, socket.AF_INET6} and not _flags(message) & _NOT_YET_OR_NEVER:
            # On IPv4 point-to-point links IFA_ADDRESS is the other end.
            text = message.get("local") or message.get("address")
            found[message["index"]].append(ipaddress.ip_interface(f"{text}/{message['prefixlen']}"))
    return found


def _flags(message: Any) -> int:
    flags: int | None = message.get("flags")
    return message["flags"] if flags is None else flags
