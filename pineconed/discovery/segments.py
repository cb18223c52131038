# SPDX-License-Identifier: Apache-2.0
"""Where discovery takes part: one *segment* for each suitable interface and IP version."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from pineconed.discovery.interfaces import Interface, IpAddress

MAX_INTERFACES = 64
"""Each has two sockets, and peerings need some too."""

_TOO_MANY = f"{MAX_INTERFACES} others are in use, the most that there may be"
_THIS_LINK = IPv4Network("169.254.0.0/16")
_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Segment:
    """One interface with one IP version.

    `address` is the one that beacons come from. `own` are all addresses of this host there; `networks` those
    whose hosts can be reached without a router, which is known only of IPv4.
    """

    interface: str
    index: int
    version: int
    address: IpAddress
    own: frozenset[IpAddress]
    networks: tuple[IPv4Network, ...] = ()

    def reaches(self, address: IpAddress) -> bool:
        """Whether a host with this address can be on this segment.

        For IPv6 only link-local addresses are: others could be overlay addresses, or belong to anybody.
        """
        if address.version != self.version:
            return False
        if isinstance(address, IPv4Address):
            return any(_is_host(address, network) for network in self.networks)
        return address.is_link_local


class Found(NamedTuple):
    """What discovery makes of an interface: its segments, or `reason` why there are none."""

    interface: Interface
    segments: tuple[Segment, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The operator's choice of interfaces by patterns of their names, and the names that are never chosen.

    With `include` only interfaces that match it are used. Those that match `exclude` are not.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    never: frozenset[str] = frozenset()

    def objection(self, name: str) -> str | None:
        """Why an interface of this name is not used, None if it may be."""
        if name in self.never:
            return "it is this node's own"
        if self.include and not _matches(name, self.include):
            return "its name is not in multicast.include"
        if _matches(name, self.exclude):
            return "its name is in multicast.exclude"
        return None


def judge(interfaces: Iterable[Interface], choice: Choice) -> tuple[Found, ...]:
    """What discovery makes of each of these interfaces; `MAX_INTERFACES` are used."""
    found = []
    used = 0
    for interface in interfaces:
        verdict = _judge(interface, choice)
        if verdict.segments and used == MAX_INTERFACES:
            verdict = Found(interface, (), _TOO_MANY)
        used += bool(verdict.segments)
        found.append(verdict)
    return tuple(found)


def _judge(interface: Interface, choice: Choice) -> Found:
    reason = _objection(interface) or choice.objection(interface.name)
    segments = () if reason else tuple(_segments(interface))
    return Found(interface, segments, reason or (None if segments else "it has no address that fits"))


def _objection(interface: Interface) -> str | None:
    if interface.loopback:
        return "it leads to this host"
    if interface.point_to_point:
        return "it leads to a single host"
    if not interface.multicast:
        return "it cannot multicast"
    return None if interface.up else "it is down"


def _segments(interface: Interface) -> Iterable[Segment]:
    """IPv6 from a link-local address, IPv4 from any that other hosts can answer to."""
    link_local = [
        address.ip for address in interface.addresses if address.version == 6 and address.is_link_local
    ]
    if link_local:
        yield Segment(interface.name, interface.index, 6, link_local[0], frozenset(link_local))
    unicast = [address for address in interface.addresses if isinstance(address, IPv4Interface)]
    unicast = [address for address in unicast if _is_unicast(address.ip)]
    if unicast:
        own = frozenset[IpAddress](address.ip for address in unicast)
        networks = tuple(address.network for address in unicast)
        yield Segment(interface.name, interface.index, 4, unicast[0].ip, own, networks)


def _is_unicast(address: IPv4Address) -> bool:
    special = address.is_loopback or address.is_unspecified or address.is_multicast
    return not special and address not in _THIS_LINK and address != _BROADCAST


def _is_host(address: IPv4Address, network: IPv4Network) -> bool:
    """Whether this is a host of the network; the first and last address are none, unless it has only two."""
    ends = {network.network_address, network.broadcast_address} if network.prefixlen < 31 else set()
    return address in network and address not in ends


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
