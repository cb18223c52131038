# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the node and the dialer, turned into the rows of the schema."""

from ipaddress import IPv6Address
from typing import cast

from pineconed.admin import schema
from pineconed.admin.identifier import address_text
from pineconed.admin.sources import DialFacts, LanSource, StreamFacts
from pineconed.admin.sources_ble import RadioFacts
from pineconed.node.snapshots import PeeringSnapshot
from pineconed.overlay.snapshots import SessionPage, SessionSnapshot
from pineconed.router.peer import PeerType
from pineconed.router.snapshots import SnakeEntry, SnakeSnapshot, TreePeer, TreeSnapshot
from pineconed.wire.root import Root

_FOUND_BY: dict[PeerType, schema.PeerSource] = {
    PeerType.MULTICAST: "multicast",
    PeerType.BLUETOOTH: "bluetooth",
}


def root_row(root: Root) -> schema.Root:
    """A root with its key in hexadecimal."""
    return schema.Root(root.public_key.hex(), root.sequence)


def source_name(dial: DialFacts | None, peering: PeeringSnapshot | None = None) -> schema.PeerSource | None:
    """Where a peer comes from, None for one that came by itself."""
    if dial is not None:
        return cast(schema.PeerSource, dial.source)
    return _FOUND_BY.get(peering.peer_type) if peering is not None else None


def _hex(key: bytes | None) -> str | None:
    return key.hex() if key is not None else None


def _scheme(uri: str) -> str:
    return uri.partition("://")[0]


def peering_row(
    peering: PeeringSnapshot,
    dial: DialFacts | None,
    stream: StreamFacts | None,
    rates: tuple[float, float] | None,
    radio: RadioFacts | None = None,
) -> schema.Peer:
    """A link of the node, with what its configured peer, stream, rates and radio add, if there are any."""
    key = peering.public_key
    return schema.Peer(
        port=peering.port,
        public_key=_hex(key),
        address=address_text(key) if key else None,
        uri=peering.uri,
        remote=stream.remote if stream else None,
        direction=peering.direction.value,
        scheme=_scheme(peering.uri),
        proven=peering.proven,
        type=cast(schema.PeerTypeName, peering.peer_type.name.lower()),
        zone=peering.zone,
        state=peering.state,
        source=source_name(dial, peering),
        uptime_seconds=peering.uptime_seconds,
        idle_seconds=peering.idle_seconds,
        announced=peering.announced,
        is_parent=peering.is_parent,
        coords=list(peering.coords) if peering.coords is not None else None,
        root=root_row(peering.root) if peering.root else None,
        rtt_seconds=stream.rtt() if stream else None,
        rx_bytes=peering.rx_bytes,
        tx_bytes=peering.tx_bytes,
        rx_bytes_per_second=rates[0] if rates else None,
        tx_bytes_per_second=rates[1] if rates else None,
        rx_traffic_bytes=peering.rx_traffic_bytes,
        tx_traffic_bytes=peering.tx_traffic_bytes,
        rx_protocol_bytes=peering.rx_protocol_bytes,
        tx_protocol_bytes=peering.tx_protocol_bytes,
        rx_frames=peering.rx_frames,
        tx_frames=peering.tx_frames,
        queued_bytes=peering.queued_bytes,
        drops=peering.drops,
        last_error=dial.last_error if dial else None,
        attempts=dial.attempts if dial else None,
        next_try_seconds=None,
        rssi_dbm=radio.rssi if radio else None,
        psm=radio.psm if radio else None,
        mtu_in=radio.mtu_in if radio else None,
        mtu_out=radio.mtu_out if radio else None,
    )


def down_row(dial: DialFacts) -> schema.Peer:
    """A configured peer without a link."""
    return schema.Peer(
        port=None,
        public_key=None,
        address=None,
        uri=dial.uri,
        remote=None,
        direction="outbound",
        scheme=_scheme(dial.uri),
        proven=False,
        type="remote",
        zone="static",
        state="connecting" if dial.state == "connecting" else "waiting",
        source=source_name(dial),
        uptime_seconds=None,
        idle_seconds=None,
        announced=False,
        is_parent=False,
        coords=None,
        root=None,
        rtt_seconds=None,
        rx_bytes=0,
        tx_bytes=0,
        rx_bytes_per_second=None,
        tx_bytes_per_second=None,
        rx_traffic_bytes=0,
        tx_traffic_bytes=0,
        rx_protocol_bytes=0,
        tx_protocol_bytes=0,
        rx_frames=0,
        tx_frames=0,
        queued_bytes=0,
        drops={},
        last_error=dial.last_error,
        attempts=dial.attempts,
        next_try_seconds=max(dial.next_try_seconds, 0.0) if dial.next_try_seconds is not None else None,
    )


def discovery_row(lan: LanSource) -> schema.Discovery:
    """What LAN discovery does."""
    if not lan.enabled:
        return schema.Discovery(enabled=False, interfaces=[], counters={})
    rows = [
        schema.LanInterface(
            name=row.interface,
            used=row.used,
            reason=row.reason,
            addresses=[str(address) for address in row.addresses],
            beacons_sent=row.beacons_sent,
            beacons_heard=row.beacons_heard,
            peers=row.peers,
            waiting=row.waiting,
        )
        for row in lan.snapshot()[: schema.MAX_ROWS]
    ]
    return schema.Discovery(enabled=True, interfaces=rows, counters=dict(sorted(lan.counters.items())))


def tree_row(tree: TreeSnapshot) -> schema.Tree:
    """The spanning tree as this node sees it."""
    return schema.Tree(
        root=root_row(tree.root),
        coords=list(tree.coords),
        parent=_hex(tree.parent_key),
        parent_port=tree.parent_port,
        parent_age_seconds=tree.parent_age_seconds,
        path=[schema.PathStep(key.hex(), address_text(key), port) for key, port in tree.path],
        peers=[_tree_peer_row(peer) for peer in tree.peers],
    )


def _tree_peer_row(peer: TreePeer) -> schema.TreePeer:
    return schema.TreePeer(
        port=peer.port,
        public_key=peer.public_key.hex(),
        address=address_text(peer.public_key),
        root=root_row(peer.root),
        coords=list(peer.coords),
        order=peer.order,
        age_seconds=peer.age_seconds,
        is_parent=peer.is_parent,
    )


def snake_row(snake: SnakeSnapshot) -> schema.Snake:
    """A page of the snake table."""
    return schema.Snake(
        descending=_entry_row(snake.descending) if snake.descending else None,
        entries=[_entry_row(entry) for entry in snake.entries],
        total=snake.total,
        capacity=snake.limit,
        next_cursor=_hex(snake.next_cursor),
    )


def _entry_row(entry: SnakeEntry) -> schema.SnakeEntry:
    return schema.SnakeEntry(
        public_key=entry.public_key.hex(),
        address=address_text(entry.public_key),
        sequence=entry.sequence,
        source_port=entry.source_port,
        destination_port=entry.destination_port,
        age_seconds=entry.age_seconds,
        root=root_row(entry.root),
    )


def sessions_row(page: SessionPage) -> schema.Sessions:
    """A page of the sessions."""
    return schema.Sessions(
        sessions=[session_row(row) for row in page.sessions],
        total=page.total,
        next_cursor=str(IPv6Address(page.next_cursor)) if page.next_cursor is not None else None,
    )


def session_row(session: SessionSnapshot) -> schema.Session:
    """One session, or another node without one."""
    up = session.state == "up"
    return schema.Session(
        address=str(IPv6Address(session.address)),
        public_key=_hex(session.public_key),
        state=cast(schema.SessionState, session.state),
        in_clear=session.in_clear,
        cipher=session.cipher.replace("_", "-") if session.cipher is not None else None,
        hybrid=session.hybrid,
        initiator=session.initiator,
        path=cast(schema.SessionPath, session.path),
        keys=session.sessions,
        age_seconds=None if session.state == "bare" else session.age_seconds,
        key_age_seconds=session.key_age_seconds if up else None,
        last_heard_seconds=session.last_heard_seconds,
        rtt_seconds=session.rtt_seconds,
        waiting_packets=session.waiting,
        rx_packets=session.rx_packets,
        tx_packets=session.tx_packets,
        rx_bytes=session.rx_bytes,
        tx_bytes=session.tx_bytes,
        drops=session.drops or {},
    )
