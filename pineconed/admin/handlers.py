# SPDX-License-Identifier: Apache-2.0
"""What each call of the admin API does: snapshots of the node joined with the edge, and the few changes.

No HTTP here. Every method takes one request struct and gives one answer struct, or raises AdminError.
All of them run in the event loop and none waits, but for `status`, `ping` and `reload`.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import UNSET

from pineconed.admin import requests, schema, schema_ble
from pineconed.admin.errors import AdminError, ReloadError, SaveError
from pineconed.admin.identifier import (
    ADDRESS_BYTE,
    KEY_LENGTH,
    Identifier,
    IdentifierError,
    parse_identifier,
)
from pineconed.admin.pinging import Pinger
from pineconed.admin.rates import RateMeter, Sample
from pineconed.admin.rows import (
    discovery_row,
    down_row,
    peering_row,
    root_row,
    sessions_row,
    snake_row,
    source_name,
    tree_row,
)
from pineconed.admin.rows_ble import ble_row
from pineconed.admin.sources import (
    DialFacts,
    DriverSource,
    LanSource,
    LogLevels,
    LookAtInbound,
    NodeSource,
    PeerList,
    Reload,
)
from pineconed.admin.sources_ble import BleSource
from pineconed.clock import Now
from pineconed.node.snapshots import PeeringSnapshot
from pineconed.overlay.snapshots import SessionPage
from pineconed.wire.handshake import VERSION as PROTOCOL_VERSION

MAX_CONFIGURED_PEERS = 253
"""As many as there are ports: each configured peer may need one."""


class AdminBackend:
    """Answers every call from the parts of the daemon that it is given.

    `clock` reads the moment that snapshots are taken at, `tun_name` is None on a pure router, and so is
    `inbound`, which looks at the firewall rules of this host, `listeners` tells the URIs that are listened
    on now, `reload` reads the configuration again.
    """

    def __init__(  # noqa: PLR0913 (the parts of the daemon)
        self,
        node: NodeSource,
        driver: DriverSource,
        roster: PeerList,
        log_levels: LogLevels,
        version: str,
        *,
        clock: Callable[[], Now],
        tun_name: str | None,
        inbound: LookAtInbound | None,
        listeners: Callable[[], Sequence[str]],
        lan: LanSource,
        ble: BleSource,
        reload: Reload,
    ) -> None:
        self._node = node
        self._driver = driver
        self._roster = roster
        self._log_levels = log_levels
        self._version = version
        self._clock = clock
        self._tun_name = tun_name
        self._inbound = inbound
        self._listeners = listeners
        self._lan = lan
        self._ble = ble
        self._reload = reload
        self._rates = RateMeter()
        self._pinger = Pinger(node, driver, clock)

    def sample_rates(self) -> None:
        """Read the byte counters of every link; the server calls this once a second."""
        now = self._clock()
        self._rates.sample((row.link, _sample(row, now)) for row in self._node.peerings(now))

    # ---------------------------------------------------------------- looking

    async def status(self, _: requests.NoParameters) -> schema.Status:
        """The node as a whole."""
        inbound = await self._inbound() if self._inbound is not None else None
        now = self._clock()
        status = self._node.status(now)
        up = [row for row in self._node.peerings(now) if row.state == "up"]
        links = {row.link for row in up}
        return schema.Status(
            version=self._version,
            public_key=status.public_key.hex(),
            address=Identifier(status.public_key, exact=True).address,
            coords=list(status.coords),
            root=root_row(status.root),
            parent=status.parent.hex() if status.parent is not None else None,
            peers=status.peers,
            peers_down=sum(1 for dial in self._roster.peers() if dial.link not in links),
            uptime_seconds=status.uptime_seconds,
            tun=self._tun_name,
            inbound=schema.Inbound(inbound.state, inbound.explanation) if inbound is not None else None,
            listeners=list(self._listeners()),
            drops={**status.drops, **self._driver.drops()},
            counters=status.counters,
            joined=any(row.root is not None and row.root.public_key == status.root.public_key for row in up),
        )

    def peers(self, query: requests.PeersQuery) -> list[schema.Peer]:
        """Peerings by port, then handshakes, then configured peers that are down, by URI."""
        wanted = _identifier(query.node).prefix.hex() if query.node is not UNSET else None
        rows = [row for row in self._peer_rows() if _matches(row, query, wanted)]
        rows.sort(key=lambda row: (row.port is None, row.port or 0, row.uptime_seconds is None, row.uri))
        return rows[: query.limit]

    def tree(self, _: requests.NoParameters) -> schema.Tree:
        """The place of this node in the spanning tree."""
        return tree_row(self._node.tree(self._clock()))

    def snake(self, query: requests.SnakeQuery) -> schema.Snake:
        """A page of the snake table."""
        after = bytes.fromhex(query.cursor) if query.cursor is not UNSET else None
        return snake_row(self._node.snake(self._clock(), after, query.limit))

    def sessions(self, query: requests.SessionsQuery) -> schema.Sessions:
        """A page of the sessions, or the one with a node."""
        now = self._clock()
        if query.node is not UNSET:
            row = self._node.session(_identifier(query.node).key, now)
            rows = [] if row is None else [row]
            return sessions_row(SessionPage(rows, len(rows), None))
        after = _address(_identifier(query.cursor)) if query.cursor is not UNSET else None
        return sessions_row(self._node.sessions(now, after, query.limit))

    async def ping(self, body: requests.SendPing) -> schema.Ping:
        """Send one echo and wait for it."""
        return await self._pinger.ping(body, _identifier(body.to))

    def route(self, query: requests.RouteQuery) -> schema.Route:
        """Where a frame for this node would leave now, and why."""
        target = _identifier(query.to)
        route = self._node.route(target.key, self._clock())
        next_hop = Identifier(route.next_key, exact=True) if route.next_key and route.next_port else None
        return schema.Route(
            to=query.to,
            destination_key=route.destination_key.hex(),
            address=target.address,
            exact=target.exact or route.destination_key != target.key,
            method=route.method,
            next_port=route.next_port or None,
            next_key=next_hop.key.hex() if next_hop else None,
            next_address=next_hop.address if next_hop else None,
            watermark=schema.Watermark(route.watermark.public_key.hex(), route.watermark.sequence),
            explanation=route.explanation,
        )

    def address(self, query: requests.AddressQuery) -> schema.AddressAnswer:
        """The address of a key; for an address the whole key too, if this node knows the other."""
        target = _identifier(query.of)
        key = target.key if target.exact else self._known_key(target.prefix)
        return schema.AddressAnswer(
            of=query.of,
            address=target.address,
            public_key=key.hex() if key is not None else None,
            key_prefix=target.prefix.hex(),
        )

    def discovery(self, _: requests.NoParameters) -> schema.Discovery:
        """LAN discovery: on which interfaces, and what came of it."""
        return discovery_row(self._lan)

    def ble(self, _: requests.NoParameters) -> schema_ble.Ble:
        """Bluetooth: the adapter, and who was seen."""
        return ble_row(self._ble)

    def log_level(self, _: requests.NoParameters) -> schema.LogLevel:
        """The level in force."""
        return schema.LogLevel(self._log_levels.level)

    def version(self, _: requests.NoParameters) -> schema.Version:
        """What is running."""
        return schema.Version(self._version, schema.API_VERSION, PROTOCOL_VERSION)

    # ---------------------------------------------------------------- changing

    def set_log_level(self, body: requests.SetLogLevel) -> schema.LogLevel:
        """Log at another level until the daemon stops."""
        self._log_levels.set_level(body.level)
        return schema.LogLevel(self._log_levels.level)

    async def reload(self, _: requests.NoParameters) -> schema.Reloaded:
        """Apply what has changed in the configuration."""
        try:
            outcome = await self._reload()
        except ReloadError as error:
            raise AdminError("bad_config", str(error), "nothing is changed; mend the file first") from error
        return schema.Reloaded(outcome.applied, outcome.failed, outcome.at_next_start)

    async def add_peer(self, body: requests.AddPeer) -> schema.AddedPeer:
        """Dial a peer from now on; refused if it is not a URI, already there, or one too many."""
        peers = len(self._roster.peers())
        if peers >= MAX_CONFIGURED_PEERS:
            raise AdminError(
                "limit", f"there are {peers} configured peers, the most that can be", "remove one first"
            )
        source: schema.PeerSource = "saved" if body.save else "api"
        try:
            added = await self._roster.add(body.uri, source)
        except ValueError as error:
            raise _bad_uri(error) from error
        except SaveError as error:
            raise _not_saved(error) from error
        if added is None:
            raise AdminError(
                "conflict", "this peer is already configured", "to change its options, remove it first"
            )
        return schema.AddedPeer(added, source)

    async def remove_peer(self, query: requests.RemovePeerQuery) -> schema.RemovedPeers:
        """End peerings and dial their peers no longer. A peer that dials us may come back."""
        if sum(value is not UNSET for value in (query.uri, query.key, query.port)) != 1:
            raise AdminError(
                "bad_request", "name one of uri, key and port", "such as DELETE /v1/peers?port=3"
            )
        if query.uri is not UNSET:
            return schema.RemovedPeers([await self._remove_uri(query.uri)])
        return schema.RemovedPeers(await self._remove_links(query))

    async def _remove_uri(self, uri: str) -> schema.RemovedPeer:
        gone = await self._forget(uri)
        if gone is None:
            raise AdminError(
                "not_found", f"{uri} is not a configured peer", "see 'pineconectl peers' for those that are"
            )
        row = next((row for row in self._links() if row.link == gone.link), None)
        if row is not None:
            self._driver.detach(row.link, "removed by the operator")
        return _removed(row, gone)

    async def _remove_links(self, query: requests.RemovePeerQuery) -> list[schema.RemovedPeer]:
        prefix = _identifier(query.key).prefix if query.key is not UNSET else None
        rows = [row for row in self._links() if _is_named(row, prefix, query.port)]
        if not rows:
            which = f"on port {query.port}" if prefix is None else f"to {query.key}"
            raise AdminError("not_found", f"there is no peering {which}", "see 'pineconectl peers'")
        return [await self._remove_link(row) for row in rows]

    async def _remove_link(self, row: PeeringSnapshot) -> schema.RemovedPeer:
        dial = self._dials_by_link().get(row.link)
        if dial is not None:
            await self._forget(dial.uri)
        self._driver.detach(row.link, "removed by the operator")
        return _removed(row, dial)

    async def _forget(self, uri: str) -> DialFacts | None:
        """Dial a peer no longer; what it was, None if it is not in the list."""
        try:
            return await self._roster.remove(uri)
        except SaveError as error:
            raise _not_saved(error) from error

    # ---------------------------------------------------------------- joining

    def _links(self) -> Sequence[PeeringSnapshot]:
        return self._node.peerings(self._clock())

    def _dials_by_link(self) -> dict[int, DialFacts]:
        return {dial.link: dial for dial in self._roster.peers() if dial.link is not None}

    def _peer_rows(self) -> Iterator[schema.Peer]:
        now = self._clock()
        dials = self._dials_by_link()
        links = set()
        for row in self._node.peerings(now):
            links.add(row.link)
            rates = self._rates.rates(row.link, _sample(row, now))
            stream, radio = self._driver.stream_of(row.link), self._ble.radio(row.link)
            yield peering_row(row, dials.get(row.link), stream, rates, radio)
        for dial in self._roster.peers():
            if dial.link not in links:
                yield down_row(dial)

    def _known_key(self, prefix: bytes) -> bytes | None:
        """The whole key of which these are the first bytes, if this node has heard of it."""
        now = self._clock()
        tree = self._node.tree(now)
        known = [self._node.status(now).public_key, tree.root.public_key]
        known += [peer.public_key for peer in tree.peers] + [key for key, _ in tree.path]
        known += [row.public_key for row in self._node.peerings(now) if row.public_key is not None]
        padded = prefix.ljust(KEY_LENGTH, b"\0")
        known += [entry.public_key for entry in self._node.snake(now, padded, 1).entries]
        session = self._node.session(padded, now)
        if session is not None and session.state == "up" and session.public_key is not None:
            known.append(session.public_key)
        return next((key for key in known if key.startswith(prefix)), None)


def _identifier(text: str) -> Identifier:
    try:
        return parse_identifier(text)
    except IdentifierError as error:
        raise AdminError(
            "bad_request", str(error), "give 64 hexadecimal digits or an address that begins with fd"
        ) from error


def _address(node: Identifier) -> bytes:
    return ADDRESS_BYTE + node.prefix


def _bad_uri(error: ValueError) -> AdminError:
    """The roster's sentence, which names what would be right after a semicolon."""
    message, _, remedy = str(error).partition("; ")
    return AdminError("bad_request", message, remedy or "write tcp://host:port")


def _not_saved(error: SaveError) -> AdminError:
    return AdminError(
        "not_saved", str(error), "nothing is changed; see peering.saved_peers in the configuration"
    )


def _sample(row: PeeringSnapshot, now: Now) -> Sample:
    return Sample(now.seconds, row.rx_bytes, row.tx_bytes)


def _matches(row: schema.Peer, query: requests.PeersQuery, prefix: str | None) -> bool:
    return (
        query.state in (UNSET, row.state)
        and query.direction in (UNSET, row.direction)
        and query.port in (UNSET, row.port)
        and (prefix is None or (row.public_key is not None and row.public_key.startswith(prefix)))
    )


def _is_named(row: PeeringSnapshot, prefix: bytes | None, port: object) -> bool:
    if prefix is not None:
        return row.public_key is not None and row.public_key.startswith(prefix)
    return row.port is not None and row.port == port


def _removed(row: PeeringSnapshot | None, dial: DialFacts | None) -> schema.RemovedPeer:
    return schema.RemovedPeer(
        uri=dial.uri if dial else row.uri if row else "",
        port=row.port if row else None,
        public_key=row.public_key.hex() if row and row.public_key is not None else None,
        source=source_name(dial, row),
    )
