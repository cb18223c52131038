# SPDX-License-Identifier: Apache-2.0
"""Sections 5 and 6 of the protocol notes, rule by rule and without any index, for comparison with the tables.

Nothing of the dataplane is used, so that a mistake there cannot be shared. Where the rules leave the order
of peers open, they are taken by port number.
"""

from dataclasses import dataclass, field

Watermark = tuple[bytes, int]
LIFETIME = 10.0


@dataclass(frozen=True)
class OracleAnnouncement:
    """A peer's last announcement: the root, the hops as (port, signer), and its receive order."""

    root: tuple[bytes, int]
    hops: tuple[tuple[int, bytes], ...]
    order: int

    @property
    def coords(self) -> tuple[int, ...]:
        """The coords of the peer that sent it."""
        return tuple(port for port, _ in self.hops)[:-1]


@dataclass(frozen=True)
class OraclePeer:
    """One peering."""

    public_key: bytes
    peer_type: int
    live: bool
    announcement: OracleAnnouncement | None


@dataclass(frozen=True)
class OracleEntry:
    """One row of the snake table; its watermark is (key, sequence)."""

    public_key: bytes
    sequence: int
    source: int
    last_seen: float


@dataclass
class OracleNode:
    """All that the rules look at."""

    own_key: bytes
    root: tuple[bytes, int]
    coords: tuple[int, ...] = ()
    parent: int | None = None
    peers: dict[int, OraclePeer] = field(default_factory=dict)
    entries: list[OracleEntry] = field(default_factory=list)

    def announced(self, *, live: bool) -> list[tuple[int, OraclePeer, OracleAnnouncement]]:
        """Peers with an announcement by port number; with `live` only live ones."""
        return [
            (port, peer, peer.announcement)
            for port, peer in sorted(self.peers.items())
            if peer.announcement is not None and (peer.live or not live)
        ]


def ordered(a: bytes, b: bytes, c: bytes) -> bool:
    return a < b < c


def worse(a: Watermark, b: Watermark) -> bool:
    return a[0] > b[0] or (a[0] == b[0] and a[1] != 0 and a[1] < b[1])


class _Best:
    """The best key so far, its port and its sequence, with the rule by which candidates are taken."""

    def __init__(self, key: bytes, port: int | None, destination: bytes, bootstrap: bool) -> None:
        self.key, self.port, self.sequence = key, port, 0
        self._destination, self._bootstrap = destination, bootstrap

    def take(self, key: bytes, sequence: int, port: int) -> None:
        self.key, self.sequence, self.port = key, sequence, port

    def offer(self, key: bytes, sequence: int, port: int) -> None:
        is_destination = not self._bootstrap and key == self._destination and self.key != self._destination
        if is_destination or ordered(self._destination, key, self.key):
            self.take(key, sequence, port)


def snake(
    node: OracleNode, destination: bytes, bootstrap: bool, watermark: Watermark, now: float
) -> tuple[int | None, bytes, int]:
    """Section 5, steps 1 to 7."""
    # 1
    if not bootstrap and destination == node.own_key:
        return (0, *watermark)
    # 2
    best = _Best(node.own_key, None if bootstrap else 0, destination, bootstrap)
    # 3
    parent = node.peers.get(node.parent) if node.parent is not None else None
    if parent is not None and parent.live:
        assert node.parent is not None
        if (bootstrap and best.key == destination) or ordered(best.key, destination, node.root[0]):
            best.take(node.root[0], 0, node.parent)
        if parent.announcement is not None:
            for _, signer in parent.announcement.hops:
                best.offer(signer, 0, node.parent)
    # 4
    for port, _, announcement in node.announced(live=True):
        for _, signer in announcement.hops:
            best.offer(signer, 0, port)
    # 5
    for port, peer, _ in node.announced(live=True):
        if peer.public_key == best.key:
            best.take(best.key, 0, port)
    # 6
    for entry in node.entries:
        source = node.peers.get(entry.source)
        if source is None or not source.live or now - entry.last_seen >= LIFETIME:
            continue
        if not worse((entry.public_key, entry.sequence), watermark):
            best.offer(entry.public_key, entry.sequence, entry.source)
    # 7
    _prefer_direct(node, best)
    return best.port, best.key, best.sequence


def _prefer_direct(node: OracleNode, best: _Best) -> None:
    current = node.peers.get(best.port) if best.port is not None else None
    if current is None or current.announcement is None:
        return
    for port, peer, announcement in node.announced(live=False):
        if peer.public_key != best.key:
            continue
        assert current.announcement is not None
        if peer.peer_type < current.peer_type or (
            peer.peer_type == current.peer_type
            and announcement.root == current.announcement.root
            and announcement.order < current.announcement.order
        ):
            best.take(best.key, best.sequence, port)
            current = peer


def distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    common = 0
    while common < min(len(a), len(b)) and a[common] == b[common]:
        common += 1
    return len(a) + len(b) - 2 * common


def tree(node: OracleNode, destination: tuple[int, ...], from_port: int) -> int | None:
    """Section 6, *Tree next hop*."""
    if destination == node.coords or distance(node.coords, destination) == 0:
        return 0
    chosen: int | None = None
    chosen_distance = distance(node.coords, destination)
    for port, peer, announcement in node.announced(live=True):
        if port == from_port or announcement.root != node.root:
            continue
        steps = distance(announcement.coords, destination)
        if steps < chosen_distance:
            chosen, chosen_distance = port, steps
        elif steps == chosen_distance and chosen is not None:
            best = node.peers[chosen]
            assert best.announcement is not None
            better = (peer.peer_type, announcement.order) < (best.peer_type, best.announcement.order)
            if peer.public_key == best.public_key and better:
                chosen = port
    return chosen


def faster(node: OracleNode, port: int | None) -> int | None:
    """Section 6, *Slow peerings*: by which port traffic leaves that would leave by this one."""
    slow = node.peers.get(port) if port else None
    if slow is None or slow.peer_type < 4:
        return port
    others = [
        (peer.peer_type, other)
        for other, peer, _ in node.announced(live=True)
        if peer.public_key == slow.public_key and peer.peer_type < 4
    ]
    return min(others)[1] if others else port
