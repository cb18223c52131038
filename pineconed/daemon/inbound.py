# SPDX-License-Identifier: Apache-2.0
"""The configured listeners: one for each URI, with the service of its scheme behind it."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import NamedTuple

from pineconed.daemon.driver import Driver
from pineconed.daemon.errors import StartError
from pineconed.daemon.event_log import EventLog
from pineconed.node import Node
from pineconed.peering.admission import Objection
from pineconed.router.events import Event, LinkDown
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.gate import AcceptGate, Visit
from pineconed.transport.listener import Listener, ListenError, Place, Serve, reset
from pineconed.transport.service import Intake, Service, TcpService
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import BY_OVERLAY, is_from
from pineconed.transport.tcp_place import TcpPlace
from pineconed.transport.unix import UnixPlace, UnixService
from pineconed.transport.uri import PeerUri
from pineconed.transport.websocket.running import RunningPumps


@dataclass(frozen=True, slots=True)
class Reception:
    """What all listeners of a daemon share. `seed` is the node's private key, `clock` that of the gate."""

    node: Node
    driver: Driver
    gate: AcceptGate
    events: EventLog
    pumps: RunningPumps
    clock: Callable[[], float]
    seed: bytes = field(repr=False)

    def turn_away(self, accepted: socket.socket, remote: str, visit: Visit, reason: str) -> None:
        """Close an accepted stream without a word to it, and log why."""
        reset(accepted)
        visit.closed()
        self.events.came_to_nothing(remote, visit.source, reason)


def _tcp(uri: PeerUri, intake: Intake, _: Reception) -> tuple[Place, Service]:
    return TcpPlace(uri.host, uri.port), TcpService(intake)


def _tls(uri: PeerUri, intake: Intake, reception: Reception) -> tuple[Place, Service]:
    from pineconed.transport.tls.certificate import server_tls  # noqa: PLC0415 (cryptography.x509: 2 MB)
    from pineconed.transport.tls.server import TlsService  # noqa: PLC0415

    service = TlsService(intake, server_tls(reception.seed), uri.options.password)
    return TcpPlace(uri.host, uri.port), service


def _unix(uri: PeerUri, intake: Intake, _: Reception) -> tuple[Place, Service]:
    place = UnixPlace(uri.path)
    return place, UnixService(intake, place)


def _web(uri: PeerUri, intake: Intake, reception: Reception) -> tuple[Place, Service]:
    from pineconed.transport.websocket.server import WebSocketService  # noqa: PLC0415 (aiohttp: 0.3 s)

    return TcpPlace(uri.host, uri.port), WebSocketService(uri, intake, reception.pumps)


_SCHEMES: dict[str, Callable[[PeerUri, Intake, Reception], tuple[Place, Service]]] = {
    "tcp": _tcp,
    "tls": _tls,
    "unix": _unix,
    "ws": _web,
    "wss": _web,
}
"""Where a listener of each scheme listens, and what serves the sockets that it accepts."""

_ZONES = {"ws": "websocket", "wss": "websocket"}
"""Zones of inbound streams; all others have the empty one (protocol section 8)."""


class _Open(NamedTuple):
    """A listener that is open."""

    uri: PeerUri
    listener: Listener
    service: Service


class Inbound:
    """The listeners of a daemon by the names of their URIs; may be opened and closed at any time."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._open: dict[str, _Open] = {}
        self._came_by: dict[int, str] = {}
        reception.driver.subscribe(self._forget)

    async def open(self, uri: PeerUri) -> None:
        """Listen there from now on. StartError when that cannot be."""
        reception = self._reception
        try:
            place, service = _SCHEMES[uri.scheme](uri, _Intake(uri, reception, self._came_by), reception)
            serve = unless_by_overlay(service.serve, reception)
            listener = Listener(place, reception.gate, serve, reception.events.out_of_order)
            await _start(listener, service)
        except ListenError as error:
            raise StartError(f"{uri.name}: {error}") from error
        self._open[uri.name] = _Open(uri, listener, service)

    async def close(self, name: str) -> None:
        """Listen there no longer. Peerings that came in live on."""
        _, listener, service = self._open.pop(name)
        await listener.close()
        await service.close()

    def refresh(self) -> list[str]:
        """Have every listener read its TLS files again; what is wrong with them, a sentence each."""
        wrong = []
        for uri, _, service in self._open.values():
            try:
                service.reload()
            except ListenError as error:
                wrong.append(f"{uri.name}: {error}; the files of before are used on")
        return wrong

    def hang_up(self, name: str, reason: str) -> None:
        """End the peerings that came in by the listener of this name."""
        for link in [link for link, came_by in self._came_by.items() if came_by == name]:
            self._reception.driver.detach(link, reason)

    async def close_all(self) -> None:
        """Listen nowhere any more."""
        while self._open:
            await self.close(next(iter(self._open)))

    def configured(self) -> tuple[str, ...]:
        """The URIs of the listeners that are open, as they were configured, secrets included."""
        return tuple(uri.text for uri, _, _ in self._open.values())

    def listening(self) -> list[str]:
        """What is listened on now, with the addresses and ports that the kernel chose, fit to be shown."""
        return [
            uri.name if uri.scheme == "unix" else f"{uri.scheme}://{address}{uri.path}"
            for uri, listener, _ in self._open.values()
            for address in listener.addresses
        ]

    def _forget(self, event: Event) -> None:
        if isinstance(event, LinkDown):
            self._came_by.pop(event.link, None)


def unless_by_overlay(serve: Serve, reception: Reception) -> Serve:
    """Serve nobody who comes to our overlay address: his peering would have to carry its own packets."""
    own = IPv6Address(reception.node.address)

    def look(accepted: socket.socket, remote: str, visit: Visit) -> None:
        if not is_from(accepted, own):
            serve(accepted, remote, visit)
            return
        reception.turn_away(accepted, remote, visit, BY_OVERLAY)

    return look


async def _start(listener: Listener, service: Service) -> None:
    try:
        await listener.start()
    except ListenError:
        await service.close()
        raise


class _Intake:
    """Makes links of the streams of one listener, and notes in `came_by` that they came by it."""

    def __init__(self, uri: PeerUri, reception: Reception, came_by: dict[int, str]) -> None:
        self._uri = uri
        self._reception = reception
        self._allowed = frozenset(uri.options.keys)
        self._came_by = came_by

    def attach(self, stream: Stream, visit: Visit) -> None:
        """Give the stream to the driver; what is left of its time is for the handshake."""
        reception = self._reception
        options = self._options(stream.remote, stream.proven_key, reception.clock() - visit.since)
        link = reception.driver.attach(stream, options)
        visit.opened(link)
        self._came_by[link] = self._uri.name
        reception.events.opened(link, stream.remote, visit.source, options)

    def fail(self, remote: str, visit: Visit, reason: str) -> None:
        """Log why there is no link."""
        visit.closed()
        self._reception.events.came_to_nothing(remote, visit.source, reason)

    def objection(self, public_key: bytes) -> Objection | None:
        """Ask the node."""
        return self._reception.node.objection(public_key, self._options("", public_key, 0.0))

    def _options(self, remote: str, proven_key: bytes | None, spent: float) -> LinkOptions:
        scheme = self._uri.scheme
        return LinkOptions(
            PeerType.PIPE if scheme == "unix" else PeerType.REMOTE,
            _ZONES.get(scheme, ""),
            f"{scheme}://{remote}",
            Direction.INBOUND,
            proven_key=proven_key,
            allowed_keys=self._allowed,
            spent=spent,
        )
