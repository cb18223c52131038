# SPDX-License-Identifier: Apache-2.0
"""The network interfaces of this host and their addresses, as values, and what changed between two lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface

_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_POINTOPOINT = 0x10
_IFF_RUNNING = 0x40
_IFF_MULTICAST = 0x1000


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. `flags` are the kernel's IFF_ flags, `addresses` those that can be used by now."""

    name: str
    index: int
    flags: int
    addresses: tuple[IpInterface, ...] = ()

    @property
    def up(self) -> bool:
        """Switched on, and with a carrier."""
        return self.flags & _IFF_UP != 0 and self.flags & _IFF_RUNNING != 0

    @property
    def loopback(self) -> bool:
        """Leads to this host."""
        return self.flags & _IFF_LOOPBACK != 0

    @property
    def point_to_point(self) -> bool:
        """Leads to a single other host, as tunnels do."""
        return self.flags & _IFF_POINTOPOINT != 0

    @property
    def multicast(self) -> bool:
        """Can send to many hosts at once."""
        return self.flags & _IFF_MULTICAST != 0


@dataclass(frozen=True, slots=True)
class Place:
    """An address that this host can use now, on an interface that is up."""

    interface: str
    index: int
    address: IpAddress


@dataclass(frozen=True, slots=True)
class InterfaceChange:
    """All interfaces as they are now, the places that came since the change before, and those that went.

    When an interface goes down or away, all of its places go; when it comes up, they come.
    """

    interfaces: tuple[Interface, ...]
    came: tuple[Place, ...]
    went: tuple[Place, ...]


def places(interfaces: Iterable[Interface]) -> tuple[Place, ...]:
    """The places of these interfaces, as far as they are up."""
    return tuple(
        Place(interface.name, interface.index, address.ip)
        for interface in interfaces
        if interface.up
        for address in interface.addresses
    )


def change_of(before: tuple[Interface, ...], now: tuple[Interface, ...]) -> InterfaceChange:
    """What changed from one list of all interfaces to the next."""
    old, new = places(before), places(now)
    return InterfaceChange(
        now,
        came=tuple(place for place in new if place not in old),
        went=tuple(place for place in old if place not in new),
    )
