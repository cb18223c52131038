# SPDX-License-Identifier: Apache-2.0
"""LAN discovery with the daemon's streams: the listener that its beacons announce, and its dials."""

import ipaddress
import socket
from typing import Any, NamedTuple

from pineconed.daemon.config import DEFAULT_EXCLUDE, MulticastSection
from pineconed.daemon.errors import StartError
from pineconed.daemon.inbound import Reception
from pineconed.discovery.interfaces import IpAddress
from pineconed.discovery.lan import LanDiscovery, LanSettings
from pineconed.discovery.policy import Dial, DiscoveryPolicy
from pineconed.discovery.segments import Choice
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.authority import host_port
from pineconed.transport.gate import Visit
from pineconed.transport.listener import Listener, ListenError
from pineconed.transport.stream import SocketStream, address_in
from pineconed.transport.tcp import reach
from pineconed.transport.tcp_place import TcpPlace

CONNECT_TIMEOUT = 5.0
"""Seconds that a neighbour has to take a connection (protocol section 8)."""

FROM_ELSEWHERE = "it came by no network on which LAN discovery is on; other peers need a listener"


class Lan:
    """Discovery, switched off at first, and its listener. `own_device` is the node's own interface."""

    def __init__(self, reception: Reception, own_device: str | None) -> None:
        self._reception = reception
        self._own_device = own_device
        self._listener: Listener | None = None
        own_key = reception.node.public_key
        self.discovery = LanDiscovery(
            DiscoveryPolicy(own_key, self._is_welcome),
            own_key,
            LanSettings(None, on=False),
            self,
            reception.events,
            reception.clock,
        )
        reception.driver.subscribe(self.discovery.handle_event)

    async def apply(self, section: MulticastSection) -> None:
        """Do what the configuration says from now on; may be called again when that changes.

        StartError when there is no port to listen on.
        """
        port = await self._listen() if section.enabled and section.beacon else None
        if port is None:
            await self._stop_listening()
        self.discovery.apply(
            LanSettings(port, section.enabled, section.listen, choice(section, self._own_device))
        )

    async def close(self) -> None:
        """Find nobody any more, and be found by nobody."""
        await self._stop_listening()
        await self.discovery.close()

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        self._listener = None

    async def _listen(self) -> int:
        """Take peerings on a port of the kernel's choice; where there is no IPv6, for IPv4 only."""
        if self._listener is not None:
            return _port_of(self._listener)
        try:
            return await self._listen_at("::")
        except ListenError:
            pass
        try:
            return await self._listen_at("0.0.0.0")  # noqa: S104  (calls from elsewhere are refused)
        except ListenError as error:
            raise StartError(f"LAN discovery: {error}; --no-multicast runs without it") from error

    async def _listen_at(self, host: str) -> int:
        reception = self._reception
        listener = Listener(_LanPlace(host, 0), reception.gate, self._serve, reception.events.out_of_order)
        await listener.start()
        self._listener = listener
        return _port_of(listener)

    def _serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        """Take a call from a segment, and refuse those from elsewhere: the overlay, other networks."""
        reception, discovery = self._reception, self.discovery
        call = _ends(accepted)
        segment = discovery.segment_of(*call) if call else None
        if call is None or segment is None:
            reception.turn_away(accepted, remote, visit, FROM_ELSEWHERE)
            return
        stream = SocketStream(accepted, remote)
        options = _options(segment.interface, f"tcp://{remote}", Direction.INBOUND)
        link = reception.driver.attach(stream, options)
        visit.opened(link)
        discovery.called(link, segment, call.local, call.remote)
        reception.events.opened(link, remote, visit.source, options)

    def _is_welcome(self, public_key: bytes) -> bool:
        """Whether the operator's rules, and the number of peers, leave room for this node."""
        return self._reception.node.objection(public_key, _options("", "", Direction.OUTBOUND)) is None

    # ---------------------------------------------------------------- what discovery has done here

    async def dial(self, dial: Dial) -> tuple[int, IpAddress]:
        """Connect by the interface that the beacon came by, unless its sender is on this host."""
        segment = dial.segment
        host = f"{dial.address}%{segment.interface}" if segment.version == 6 else str(dial.address)
        interface = None if dial.address in segment.own else segment.interface
        reached = await reach(host, dial.port, CONNECT_TIMEOUT, interface)
        stream = SocketStream(reached.socket, reached.remote)
        uri = f"tcp://{host_port(host, dial.port)}"
        options = _options(segment.interface, uri, Direction.OUTBOUND, frozenset({dial.public_key}))
        local = address_in(reached.socket.getsockname())
        link = self._reception.driver.attach(stream, options)
        self._reception.events.opened(link, stream.remote, host, options)
        return link, local

    def close_link(self, link: int, reason: str) -> None:
        """See `Driver.detach`."""
        self._reception.driver.detach(link, reason)


def choice(section: MulticastSection, own_device: str | None) -> Choice:
    """Which interfaces the operator wants. What is left out by default may be named under `include`."""
    is_default = section.include and section.exclude == DEFAULT_EXCLUDE
    never = frozenset({own_device} if own_device else ())
    return Choice(section.include, () if is_default else section.exclude, never)


class _LanPlace(TcpPlace):
    """On a segment every host has a link-local address of its own, all of them in the same /64."""

    def source(self, sockaddr: Any) -> str:
        """The link-local address with its interface, or what counts elsewhere."""
        host = sockaddr[0].partition("%")[0]
        if len(sockaddr) > 2 and ipaddress.IPv6Address(host).is_link_local:
            return f"{host}%{sockaddr[3]}"
        return super().source(sockaddr)


def _options(
    zone: str, uri: str, direction: Direction, allowed_keys: frozenset[bytes] = frozenset()
) -> LinkOptions:
    return LinkOptions(PeerType.MULTICAST, zone, uri, direction, allowed_keys=allowed_keys)


def _port_of(listener: Listener) -> int:
    return int(listener.address.rpartition(":")[2])


class _Ends(NamedTuple):
    """Both ends of a stream, and the index of its interface if that is known, else 0."""

    local: IpAddress
    remote: IpAddress
    scope: int


def _ends(connected: socket.socket) -> _Ends | None:
    """None when the other end is gone already."""
    try:
        ours, theirs = connected.getsockname(), connected.getpeername()
    except OSError:
        return None
    return _Ends(address_in(ours), address_in(theirs), theirs[3] if len(theirs) > 2 else 0)
