# SPDX-License-Identifier: Apache-2.0
"""A node, a driver, a dialer and log levels that say what a test wants, and a real admin server over them."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from pineconed.admin.errors import ReloadError, SaveError
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.schema import Inbound, LevelName
from pineconed.admin.server import AdminServer
from pineconed.clock import Now
from pineconed.dataplane.forward import SendResult
from pineconed.discovery.lan import LanSnapshot
from pineconed.node.snapshots import NodeStatus, PeeringSnapshot, RouteSnapshot
from pineconed.overlay.address import address_of
from pineconed.overlay.events import EchoAnswered, OverlayEvent
from pineconed.overlay.snapshots import SessionPage, SessionSnapshot
from pineconed.router.peer import Direction, PeerType
from pineconed.router.snapshots import SnakeEntry, SnakeSnapshot, TreePeer, TreeSnapshot
from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.ble.bluetooth import BleSnapshot, RadioSnapshot
from pineconed.transport.ble.policy import SightingSnapshot
from pineconed.transport.ble.sightings import Fate
from pineconed.wire.root import Root
from pineconed.wire.watermark import FULL


def key(number: int) -> bytes:
    """A public key that begins with the byte `number`; the rest looks as random as it should."""
    return bytes([number]) + hashlib.sha256(bytes([number])).digest()[1:]


OWN_KEY = key(0x57)
PARENT_KEY = key(0xC4)
CHILD_KEY = key(0x22)
SILENT_KEY = key(0xA1)
BARE_KEY = key(0xB2)
ROOT = Root(key(0xFE), 1_760_000_000)


def peering(link: int, port: int | None, public_key: bytes | None, **changes: object) -> PeeringSnapshot:
    """A peering that is up, or with `port` None one in its handshake."""
    values: dict[str, object] = {
        "link": link,
        "port": port,
        "public_key": public_key,
        "peer_type": PeerType.REMOTE,
        "zone": "",
        "uri": f"tcp://192.0.2.{link}:4444",
        "direction": Direction.INBOUND,
        "configured": False,
        "proven": False,
        "state": "handshake" if port is None else "up",
        "uptime_seconds": 100.5,
        "idle_seconds": 1.25,
        "announced": port is not None,
        "is_parent": False,
        "coords": (3,) if port is not None else None,
        "root": ROOT if port is not None else None,
        "rx_bytes": 1_500_000,
        "tx_bytes": 2_500,
        "rx_traffic_bytes": 1_499_000,
        "tx_traffic_bytes": 500,
        "rx_protocol_bytes": 1_000,
        "tx_protocol_bytes": 2_000,
        "rx_frames": 1_200,
        "tx_frames": 30,
        "queued_bytes": 0,
        "drops": {},
    }
    return PeeringSnapshot(**(values | changes))  # type: ignore[arg-type]


def session(node_key: bytes, state: str = "up", **changes: object) -> SessionSnapshot:
    """A session with a node, or a row of another state."""
    values: dict[str, object] = {"state": state, "address": address_of(node_key), "public_key": node_key}
    values |= {"path": "tree"} if state == "up" else {"path": "snake", "in_clear": state == "bare"}
    if state == "up":
        values |= {"cipher": "AES_256_GCM", "hybrid": True, "initiator": True, "sessions": 2}
        values |= {"age_seconds": 4000.5, "key_age_seconds": 61.25, "last_heard_seconds": 0.5}
        values |= {"rtt_seconds": 0.0123, "tx_packets": 1200, "rx_packets": 900}
        values |= {"tx_bytes": 1_500_000, "rx_bytes": 70_000}
        values |= {"drops": {"data_replayed": 3, "data_forged": 1}}
    return SessionSnapshot(**(values | changes))  # type: ignore[arg-type]


@dataclass
class FakeNode:
    """Four links: the parent (dialled), a child, one in its handshake, and one more to the parent's node."""

    links: list[PeeringSnapshot] = field(
        default_factory=lambda: [
            peering(
                1,
                1,
                PARENT_KEY,
                is_parent=True,
                zone="static",
                uri="tcp://gateway.example.org:4444",
                direction=Direction.OUTBOUND,
                configured=True,
                drops={"queue_full": 12, "no_route": 0},
            ),
            peering(2, 2, CHILD_KEY, coords=(3, 1, 2)),
            peering(4, 7, PARENT_KEY, zone="eth0", peer_type=PeerType.MULTICAST),
            peering(3, None, None),
        ]
    )
    entries: list[SnakeEntry] = field(
        default_factory=lambda: [
            SnakeEntry(key(n), 1000 + n, 2, 1 if n % 2 else 0, 1.5, ROOT) for n in range(1, 40)
        ]
    )
    peers_in_sessions: list[SessionSnapshot] = field(
        default_factory=lambda: [
            session(CHILD_KEY),
            session(PARENT_KEY, path="snake", cipher="CHACHA20_POLY1305", initiator=False, drops={}),
            session(SILENT_KEY, "dialling", public_key=None, waiting=3, age_seconds=1.5),
            session(BARE_KEY, "bare", public_key=None, last_heard_seconds=7.5, tx_packets=5, tx_bytes=420),
        ]
    )
    asked: list[bytes] = field(default_factory=list)
    way: bool = True
    parent: bytes | None = PARENT_KEY
    broken: bool = False

    def status(self, now: Now) -> NodeStatus:
        if self.broken:
            raise RuntimeError("a mistake")
        up = sum(row.port is not None for row in self.links)
        drops, counters = {"no_route": 5, "too_big": 0}, {"bootstraps_sent": 1234}
        return NodeStatus(
            OWN_KEY, address_of(OWN_KEY), (3, 1), ROOT, self.parent, up, now.seconds, drops, counters
        )

    def peerings(self, now: Now) -> list[PeeringSnapshot]:
        return self.links

    def tree(self, now: Now) -> TreeSnapshot:
        peers = [
            TreePeer(1, PARENT_KEY, ROOT, (3,), 17, 2.5, is_parent=True),
            TreePeer(2, CHILD_KEY, Root(key(0x33), 9), (), 18, 0.5, is_parent=False),
        ]
        return TreeSnapshot(ROOT, (3, 1), 1, PARENT_KEY, 2.5, [(ROOT.public_key, 3), (PARENT_KEY, 1)], peers)

    def snake(self, now: Now, after: bytes | None, limit: int) -> SnakeSnapshot:
        rows = [row for row in self.entries if after is None or row.public_key > after]
        page = rows[:limit]
        cursor = page[-1].public_key if len(rows) > limit else None
        return SnakeSnapshot(self.entries[-1], page, len(self.entries), 10_000, cursor)

    def route(self, destination: bytes, now: Now) -> RouteSnapshot:
        self.asked.append(destination)
        if destination == OWN_KEY:
            return RouteSnapshot(destination, "local", 0, OWN_KEY, FULL, "This is the node's own key.")
        if not self.way:
            return RouteSnapshot(destination, "none", None, None, FULL, "No peer is connected.")
        return RouteSnapshot(
            destination, "snake", 1, PARENT_KEY, FULL, "The parent is the closest that is known."
        )

    def sessions(self, now: Now, after: bytes | None, limit: int) -> SessionPage:
        rows = sorted(self.peers_in_sessions, key=lambda row: row.address)
        left = [row for row in rows if after is None or row.address > after]
        page = left[:limit]
        return SessionPage(page, len(rows), page[-1].address if len(left) > limit else None)

    def session(self, public_key: bytes, now: Now) -> SessionSnapshot | None:
        wanted = address_of(public_key)
        return next((row for row in self.peers_in_sessions if row.address == wanted), None)


@dataclass
class FakeStream:
    remote: str = "192.0.2.1:50123"
    round_trip: float | None = 0.00031

    def rtt(self) -> float | None:
        return self.round_trip


@dataclass
class FakeDriver:
    """Has streams for the links 1 and 2; notes what is detached."""

    streams: dict[int, FakeStream] = field(
        default_factory=lambda: {1: FakeStream(), 2: FakeStream("[::1]:9")}
    )
    detached: list[tuple[int, str]] = field(default_factory=list)
    echoes: list[bytes] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    on_ping: Callable[["FakeDriver", bytes, bytes], SendResult | None] = field(
        default=lambda driver, prefix, data: driver.answer(prefix, data)
    )
    tell: Callable[[OverlayEvent], None] = field(default=lambda _: None)

    def stream_of(self, link: int) -> FakeStream | None:
        return self.streams.get(link)

    def detach(self, link: int, reason: str) -> None:
        self.detached.append((link, reason))

    def drops(self) -> dict[str, int]:
        return dict(self.lost)

    def ping(self, prefix: bytes, data: bytes) -> SendResult | None:
        self.echoes.append(data)
        return self.on_ping(self, prefix, data)

    def answer(self, prefix: bytes, data: bytes) -> SendResult:
        """The echo comes back at once."""
        known = next((key for key in (CHILD_KEY, PARENT_KEY) if key.startswith(prefix)), prefix + bytes(17))
        self.tell(EchoAnswered(known, data, 0.0123))
        return SendResult.QUEUED

    def subscribe_sessions(self, callback: Callable[[OverlayEvent], None]) -> None:
        self.tell = callback


@dataclass
class FakeDial:
    uri: str
    source: str
    state: str = "waiting"
    link: int | None = None
    attempts: int = 3
    last_error: str | None = "connection refused"
    next_try_seconds: float | None = 12.5


@dataclass
class FakeDialer:
    """Has the parent, one that waits and one that connects; takes only URIs that begin with tcp://."""

    rows: list[FakeDial] = field(
        default_factory=lambda: [
            FakeDial("tcp://gateway.example.org:4444", "file", "up", 1, 0, None, None),
            FakeDial("tcp://192.0.2.99:4444", "file"),
            FakeDial("tcp://192.0.2.98:4444", "api", "connecting", None, 1, None, None),
        ]
    )

    full: bool = False

    def peers(self) -> list[FakeDial]:
        return list(self.rows)

    async def add(self, uri: str, source: str) -> str | None:
        if not uri.startswith("tcp://"):
            raise ValueError(f"'{uri}': unknown scheme; write tcp://host:port")
        if source == "saved" and self.full:
            raise SaveError("cannot write /var/lib/pineconed/peers.toml: No space left on device")
        if uri in [row.uri for row in self.rows]:
            return None
        self.rows.append(FakeDial(uri, source, "connecting", None, 0, None, None))
        return uri

    async def remove(self, uri: str) -> FakeDial | None:
        gone = next((row for row in self.rows if row.uri == uri), None)
        self.rows = [row for row in self.rows if row is not gone]
        return gone


@dataclass
class FakeLogLevels:
    level: LevelName = "info"

    def set_level(self, level: LevelName) -> None:
        self.level = level


@dataclass
class FakeLan:
    rows: list[LanSnapshot] = field(
        default_factory=lambda: [
            LanSnapshot("lo", False, "it leads to this host", (), 0, 0, 0, 0),
            LanSnapshot(
                "eth0", True, None, (ip_address("fe80::1"), ip_address("192.0.2.1")), 3000, 6000, 2, 1
            ),
            LanSnapshot("eth1", True, "No buffer space available", (ip_address("fe80::2"),), 7, 0, 0, 0),
        ]
    )
    counters: dict[str, int] = field(default_factory=lambda: {"dials": 3, "beacons_heard": 6000, "floods": 0})

    enabled: bool = True

    def snapshot(self) -> list[LanSnapshot]:
        return self.rows


@dataclass
class FakeBle:
    enabled: bool = True
    counters: dict[str, int] = field(default_factory=lambda: {"dials": 1, "reads": 4, "reads_failed": 0})
    radios: dict[int, RadioSnapshot] = field(default_factory=dict)
    now: BleSnapshot = field(
        default_factory=lambda: BleSnapshot(
            AdapterReport(AdapterState.READY, "hci0", "5C:F3:70:00:00:01"),
            advertising=True,
            scanning=True,
            psm=0x83,
            error=None,
            sightings=(
                _sighting(1, Fate.PEERED, CHILD_KEY, "", -48),
                _sighting(2, Fate.AWAITED, SILENT_KEY, "its key is lower, so it has to dial", -61, 12.5),
                _sighting(3, Fate.FAILED, None, "no answer within 10 s", -90, 31.0),
                _sighting(4, Fate.NEW, None, "", None),
            ),
        )
    )

    def radio(self, link: int) -> RadioSnapshot | None:
        return self.radios.get(link)

    def snapshot(self) -> BleSnapshot:
        return self.now


def _sighting(
    number: int, fate: Fate, key: bytes | None, detail: str, rssi: int | None, wait: float | None = None
) -> SightingSnapshot:
    address = BleAddress(f"7A:00:00:00:00:{number:02X}", AddressKind.RANDOM)
    return SightingSnapshot(address, rssi, key[:18] if key else None, fate, detail, 0.4, wait)


@dataclass
class FakeOutcome:
    applied: list[str] = field(default_factory=lambda: ["dialling tcp://192.0.2.7:4444"])
    failed: list[str] = field(default_factory=list)
    at_next_start: list[str] = field(default_factory=lambda: ["node.key_file"])


@dataclass
class World:
    """All the fakes, and a backend over them with a clock that a test moves."""

    node: FakeNode = field(default_factory=FakeNode)
    driver: FakeDriver = field(default_factory=FakeDriver)
    dialer: FakeDialer = field(default_factory=FakeDialer)
    log_levels: FakeLogLevels = field(default_factory=FakeLogLevels)
    outcome: FakeOutcome | str = field(default_factory=FakeOutcome)
    seconds: float = 5000.0
    tun_name: str | None = "pine0"
    inbound: Inbound = field(default_factory=lambda: Inbound("filtered", "by table inet pineconed"))
    lan: FakeLan = field(default_factory=FakeLan)
    ble: FakeBle = field(default_factory=FakeBle)

    def backend(self) -> AdminBackend:
        """A new backend over the fakes."""
        return AdminBackend(
            self.node,
            self.driver,
            self.dialer,
            self.log_levels,
            "1.2.3",
            clock=lambda: Now(self.seconds, 1_760_000_000_000),
            tun_name=self.tun_name,
            inbound=self.look_at_inbound if self.tun_name is not None else None,
            listeners=lambda: ["tcp://[::]:4444"],
            lan=self.lan,
            ble=self.ble,
            reload=self.reload,
        )

    async def look_at_inbound(self) -> Inbound:
        """As `inbound` says."""
        return self.inbound

    async def reload(self) -> FakeOutcome:
        """As `outcome` says; a text is that of the error."""
        if isinstance(self.outcome, str):
            raise ReloadError(self.outcome)
        return self.outcome


@contextmanager
def served(world: World, path: Path) -> Iterator[Path]:
    """The real server over the fakes at `path`, in a loop of its own, so that a test may block."""
    loop = asyncio.new_event_loop()
    server = AdminServer(world.backend(), path)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield path
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
