# SPDX-License-Identifier: Apache-2.0
"""Turns what happens in the node and at its edge into log lines.

Nearly all of it is caused by other nodes, so nearly every line goes through the limiter. A peering that
ends makes one line, whoever ended it.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from pineconed.daemon.log_limiter import Level, LogLimiter
from pineconed.discovery.interfaces import IpAddress
from pineconed.discovery.policy import Dial
from pineconed.discovery.segments import Segment
from pineconed.overlay.address import address_of
from pineconed.overlay.events import DialFailed, HandshakeRefused, OverlayEvent, SessionDown, SessionUp
from pineconed.router.events import (
    CloseLink,
    Event,
    LinkAnnounced,
    LinkDown,
    LinkUp,
    NodeSeen,
    ParentChanged,
    PeerMisbehaved,
    RootChanged,
)
from pineconed.router.peer import Direction, LinkOptions
from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.dialer import DialSnapshot, after_handshake

_ENDS_BURST = 5
"""Peerings of one source whose begin and end are told one by one; several hosts may share an address."""

_NETWORK = "(network)"
_BLUETOOTH = "(bluetooth)"
_SESSIONS = "(sessions)"
_FAILED = "handshake failed"
_DOUBLE = "another node on the network uses this node's key"
_CROWDED = "connections come too fast and wait"
_OUT_OF_ORDER = "cannot accept peers for now"


class _Link(NamedTuple):
    """A link as its lines show it. `peer` is the name under which the limiter counts."""

    peer: str
    fields: dict[str, Any]


_UNKNOWN = _Link("(unknown)", {})


class EventLog:
    """Follows links, dials and refused connections by what it is told, and logs them."""

    def __init__(self, limiter: LogLimiter) -> None:
        self._limiter = limiter
        self._links: dict[int, _Link] = {}
        self._at_fault: set[int] = set()
        self._announced: set[int] = set()
        self._tries: dict[str, int] = {}
        self._connected: set[str] = set()
        self._root_key: bytes | None = None

    def opened(self, link: int, remote: str, source: str, options: LinkOptions) -> None:
        """A stream to `remote` is now this link; `source` is the address or network that it comes from."""
        fields = {"direction": options.direction.value, "remote": remote}
        if options.direction is Direction.OUTBOUND:
            fields["uri"] = options.uri
        if options.configured:
            source = options.uri
            self._connected.add(options.uri)
        self._links[link] = _Link(source, fields)
        self._link_line("debug", "connection opened", link)

    def refused(self, limit: str, source: str) -> None:
        """An inbound connection was closed at once, because of a limit."""
        fields = {"limit": limit, "source": source}
        self._limiter.log(
            "warning", "connection refused", fields, cause=f"connection refused {limit}", peer=source
        )

    def came_to_nothing(self, remote: str, source: str, reason: str) -> None:
        """An inbound connection ended before it could be a link."""
        fields = {"direction": Direction.INBOUND.value, "remote": remote, "reason": reason}
        self._limiter.log(
            "warning", _FAILED, fields, cause=f"{_FAILED} inbound", peer=source, burst=_ENDS_BURST
        )

    def crowded(self) -> None:
        """Inbound connections wait, because more come than are taken."""
        fields = {"limit": "total_accepts_per_second"}
        self._limiter.log("warning", _CROWDED, fields, cause=_CROWDED, peer=_NETWORK)

    def out_of_order(self, reason: str, seconds: float) -> None:
        """The system gives us no inbound connections; it is asked again after this time."""
        fields = {"reason": reason, "retry_seconds": seconds}
        self._limiter.log("error", _OUT_OF_ORDER, fields, cause=f"{_OUT_OF_ORDER} {reason}", peer=_NETWORK)

    def dialled(self, rows: Iterable[DialSnapshot]) -> None:
        """Call now and then with all configured peers: logs the tries that failed to connect since then."""
        tries = {}
        for row in rows:
            tries[row.uri] = row.attempts
            if row.next_try_seconds is not None and row.attempts > self._tries.get(row.uri, 0):
                self._dial_failed(row)
        self._tries = tries
        self._connected &= tries.keys()

    def lan_on(self, segment: Segment) -> None:
        """LAN discovery takes part on this segment from now on."""
        self._lan_line("info", "LAN discovery is on", segment)

    def lan_off(self, segment: Segment) -> None:
        """It no longer does: its interface or address is gone, or it is no longer wanted."""
        self._lan_line("info", "LAN discovery is off", segment)

    def lan_failed(self, segment: Segment, reason: str) -> None:
        """A socket cannot be opened, or beacons cannot be sent."""
        self._lan_line("warning", "LAN discovery does not work", segment, reason=reason)

    def lan_dial_failed(self, dial: Dial, reason: str) -> None:
        """A node that sent beacons cannot be connected."""
        known = {"key": dial.public_key.hex(), "reason": reason}
        self._lan_line("info", "cannot connect to a neighbour", dial.segment, **known)

    def lan_double(self, segment: Segment, source: IpAddress) -> None:
        """Somebody else sends beacons with this node's own key."""
        remedy = "if another host has a copy of this node's key file, make it a new one with pineconed genkey"
        self._lan_line("warning", _DOUBLE, segment, source=str(source), remedy=remedy)

    def ble_adapter(self, report: AdapterReport) -> None:
        """The Bluetooth adapter is ready, or no longer."""
        ready = report.state is AdapterState.READY
        text = "Bluetooth is on" if ready else "Bluetooth does not work for now"
        fields: dict[str, Any] = {"adapter": report.name or "default"}
        if report.address is not None:
            fields["address"] = report.address
        if not ready:
            fields |= {"state": report.state.value, "reason": report.detail}
        level: Level = "info" if ready else "warning"
        cause = f"{text} {report.state}"
        self._limiter.log(level, text, fields, cause=cause, peer=_BLUETOOTH, burst=_ENDS_BURST)

    def ble_failed(self, adapter: str, reason: str) -> None:
        """The adapter does not do what is wanted; it is tried again."""
        fields = {"adapter": adapter, "reason": reason}
        text = "Bluetooth does not do what is wanted"
        self._limiter.log("warning", text, fields, cause=text, peer=_BLUETOOTH, burst=_ENDS_BURST)

    def ble_step_failed(self, address: BleAddress, reason: str) -> None:
        """A device that advertises as a node could not be read or dialled."""
        fields = {"address": str(address), "reason": reason}
        text = "cannot connect by Bluetooth"
        self._limiter.log("info", text, fields, cause=text, peer=_BLUETOOTH, burst=_ENDS_BURST)

    def _lan_line(self, level: Level, text: str, segment: Segment, **fields: Any) -> None:
        known = {"interface": segment.interface, "address": str(segment.address)}
        self._limiter.log(level, text, known | fields, cause=text, peer=segment.interface, burst=_ENDS_BURST)

    def handle_event(self, event: Event) -> None:
        """Log one event of the node, if it is worth a line."""
        match event:
            case LinkUp(link, port, public_key):
                self._name(link, port, public_key)
                self._link_line("debug", "handshake done", link)
            case LinkAnnounced(link):
                self._announced.add(link)
                self._link_line("info", "peering up", link, _ENDS_BURST)
            case CloseLink(link, _, True):
                self._at_fault.add(link)
            case LinkDown():
                self._ended(event)
            case PeerMisbehaved(link, cause, detail):
                self._link_line("warning", "bad frame dropped", link, cause=cause, detail=detail)
            case RootChanged(root, coords):
                same_or_first = self._root_key in {None, root.public_key}
                level: Level = "debug" if same_or_first else "info"
                self._root_key = root.public_key
                self._network_line(level, "root changed", root=root.public_key.hex(), coords=list(coords))
            case ParentChanged(parent, port):
                self._network_line(
                    "info", "parent changed", parent=None if parent is None else parent.hex(), port=port
                )
            case NodeSeen(public_key):
                self._network_line("debug", "node seen", key=public_key.hex())

    def handle_session_event(self, event: OverlayEvent) -> None:
        """Log what happened to a session. All of them share their few lines: anyone can make keys."""
        match event:
            case SessionUp(public_key, cipher, initiator):
                began = "this node" if initiator else "the peer"
                known = {"key": public_key.hex(), "cipher": cipher.replace("_", "-")}
                self._session_line("info", "session up", address_of(public_key), **known, began=began)
            case SessionDown(public_key, reason):
                known = {"key": public_key.hex()}
                self._session_line("info", "session down", address_of(public_key), **known, reason=reason)
            case DialFailed(address):
                self._session_line("info", "no session: nobody answered", address)
            case HandshakeRefused(source_key, reason):
                fields = {"claimed_key": source_key.hex(), "reason": reason}
                self._limiter.log(
                    "warning", "session handshake refused", fields, cause="handshake", peer=_SESSIONS
                )

    def _session_line(self, level: Level, text: str, address: bytes, **fields: Any) -> None:
        known = {"address": str(IPv6Address(address))}
        self._limiter.log(level, text, known | fields, cause=text, peer=_SESSIONS, burst=_ENDS_BURST)

    def _ended(self, event: LinkDown) -> None:
        """One line for a peering that ends, after which nothing of it is remembered."""
        fields: dict[str, Any] = {"reason": event.reason}
        text = _FAILED
        if event.port is not None:
            text = "peering down"
            if event.link not in self._announced:
                text, fields = "peering did not come up", {"reason": after_handshake(event.reason)}
        if event.public_key is not None:
            fields["key"] = event.public_key.hex()
        level: Level = "warning" if event.link in self._at_fault else "info"
        self._link_line(level, text, event.link, _ENDS_BURST, **fields)
        self._at_fault.discard(event.link)
        self._announced.discard(event.link)
        self._links.pop(event.link, None)

    def _name(self, link: int, port: int, public_key: bytes) -> None:
        """All further lines about a link tell whose it is."""
        known = self._links.get(link, _UNKNOWN)
        fields = {**known.fields, "port": port, "key": public_key.hex()}
        self._links[link] = known._replace(fields=fields)

    def _dial_failed(self, row: DialSnapshot) -> None:
        if row.uri in self._connected:  # it did connect, and the end of that peering was logged
            self._connected.discard(row.uri)
            return
        fields = {
            "uri": row.uri,
            "reason": row.last_error,
            "retry_seconds": round(row.next_try_seconds or 0, 1),
        }
        self._limiter.log("warning", "cannot connect", fields, cause="cannot connect", peer=row.uri)

    def _link_line(self, level: Level, text: str, link: int, burst: int = 1, **fields: Any) -> None:
        known = self._links.get(link, _UNKNOWN)
        self._limiter.log(
            level,
            text,
            {**known.fields, **fields},
            cause=f"{text} {known.fields.get('direction', '')} {fields.get('cause', '')}".strip(),
            peer=known.peer,
            burst=burst,
        )

    def _network_line(self, level: Level, text: str, **fields: Any) -> None:
        self._limiter.log(level, text, fields, cause=text, peer=_NETWORK, burst=_ENDS_BURST)
