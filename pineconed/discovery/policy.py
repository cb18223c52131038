# SPDX-License-Identifier: Apache-2.0
"""Whom to dial, when, and which peerings are one too many (protocol section 8). No I/O, no clock.

Between two nodes of this kind there is one peering on each interface, whatever the IP version:

- Nobody is dialled who is connected on that interface already, by either side, and has announced himself: a
  handshake alone can be a recorded one, by which somebody else keeps two nodes apart.
- The node with the lower key dials at once. The one with the higher key waits for `GRACE` seconds first, in
  case that the other cannot.
- Should both have dialled all the same, the node with the higher key closes its own peering once that of the
  other works, and never the one that the other dialled.

A node of the reference dials whoever is not connected in its own zone, which is an interface for IPv6 and
the whole host for IPv4, and dials again at every beacon if that is closed. So a peering that another node has
dialled is left alone, unless there is one to the very same address that we dialled: this one counts for the
other in the same zone.

Beacons prove nothing, and anybody on the segment can send them in any number, with any key and address. So
everything here is bounded: rows in all and per address, dials at a time and per second, in all and per
address. Whoever was dialled in vain has to wait longer each time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pineconed.discovery.beacon import Beacon, decode_beacon
from pineconed.discovery.interfaces import IpAddress
from pineconed.discovery.neighbours import Neighbours, Row
from pineconed.discovery.segments import Segment
from pineconed.rate import TokenBucket
from pineconed.router.peer import Direction

GRACE = 3.0
"""Seconds from the first beacon until the node with the higher key dials: one and a half intervals."""

STEADY = 30.0
"""Seconds after which a peering counts as a success although it ended."""

MAX_DIALS = 32
"""Dials at a time."""

DIALS_PER_SECOND = 10.0
DIALS_BURST = 20
"""How fast new dials may follow each other."""

GONE = "LAN discovery is off there: its interface or address is gone, or the configuration says so"
SURPLUS = "there is another peering to this node on the same interface"


@dataclass(frozen=True, slots=True)
class Dial:
    """A node to dial now, at an address on a segment. Answer by `dial_opened` or `dial_failed`."""

    public_key: bytes
    segment: Segment
    address: IpAddress
    port: int


class Closing(NamedTuple):
    """A link to be closed, and why."""

    link: int
    reason: str


@dataclass(slots=True)
class _Link:
    """A peering of discovery. `local` is our address, `remote` the other's; `dial` is None if it dialled."""

    segment: Segment
    local: IpAddress
    remote: IpAddress
    opened: float
    dial: Dial | None
    public_key: bytes | None = None
    announced: bool = False
    closing: bool = False

    @property
    def direction(self) -> Direction:
        return Direction.OUTBOUND if self.dial else Direction.INBOUND


_Node = tuple[int, bytes]
"""The index of an interface and the key of a node on it."""


class DiscoveryPolicy:
    """Decides for one node. `now` is in seconds on any scale that only moves forward.

    `welcome` tells whether a node with this key may be a peer at all. `counters` counts what became of
    beacons, dials and peerings.
    """

    def __init__(self, own_key: bytes, welcome: Callable[[bytes], bool] = lambda _key: True) -> None:
        self.counters: Counter[str] = Counter()
        self._own_key = own_key
        self._welcome = welcome
        self._segments: tuple[Segment, ...] = ()
        self._neighbours = Neighbours()
        self._dials: dict[_Node, Dial] = {}
        self._links: dict[int, _Link] = {}
        self._by_node: defaultdict[_Node, set[int]] = defaultdict(set)
        self._rate = TokenBucket(DIALS_PER_SECOND, DIALS_BURST)

    # ---------------------------------------------------------------- interfaces

    def set_segments(self, segments: Sequence[Segment]) -> list[Closing]:
        """These are all segments from now on; the links that have lost theirs, or their address on it."""
        self._segments = tuple(segments)
        self._neighbours.keep_interfaces({segment.index for segment in segments})
        return self._close_lost(self._links)

    def _close_lost(self, links: Iterable[int]) -> list[Closing]:
        """Those of these links that have lost their segment, or their address on it."""
        alive = {(segment.index, address) for segment in self._segments for address in segment.own}
        items = [(number, self._links[number]) for number in links]
        lost = [item for item in items if (item[1].segment.index, item[1].local) not in alive]
        return list(self._close(lost, GONE))

    def segment_of(self, local: IpAddress, remote: IpAddress, index: int = 0) -> Segment | None:
        """The segment by which a stream between these addresses runs, None if discovery has none for it.

        `index` is the interface if that is known, which it is for link-local addresses.
        """
        return next(
            (
                segment
                for segment in self._segments
                if local in segment.own and segment.reaches(remote) and index in {0, segment.index}
            ),
            None,
        )

    # ---------------------------------------------------------------- beacons

    def hear(self, segment: Segment, datagram: bytes, source: IpAddress, now: float) -> Dial | None:
        """A datagram came to the group on this segment; whom to dial because of it."""
        beacon = decode_beacon(datagram)
        objection = self._objection(segment, beacon, source)
        if beacon is None or objection is not None:
            self.counters[objection or ""] += 1
            return None
        self.counters["beacons_heard"] += 1
        connected = self._is_connected(segment.index, beacon.public_key, source)
        if not connected and not self._welcome(beacon.public_key):
            self.counters["beacons_not_allowed"] += 1
            return None
        row = self._neighbours.refresh((segment.index, source), beacon, now)
        if connected:
            return None
        row = row or self._neighbours.add((segment.index, source), beacon, now)
        if row is None:
            self.counters["beacons_over_limit"] += 1
            return None
        return self._consider(Dial(beacon.public_key, segment, source, row.port), row, now)

    def _objection(self, segment: Segment, beacon: Beacon | None, source: IpAddress) -> str | None:
        """The counter of a datagram that is not worth a look."""
        if beacon is None:
            return "beacons_too_short"
        if beacon.public_key == self._own_key:
            return "beacons_of_own" if source in segment.own else "beacons_of_own_key_elsewhere"
        if beacon.port == 0:
            return "beacons_without_port"
        return None if segment.reaches(source) else "beacons_from_off_link"

    def sweep(self, now: float) -> None:
        """Forget those that are silent; call it now and then."""
        self._neighbours.sweep(now)

    # ---------------------------------------------------------------- dials

    def _consider(self, dial: Dial, row: Row, now: float) -> Dial | None:
        """Begin this dial if it is time for it."""
        place = self._neighbours.at((dial.segment.index, dial.address))
        if place is None or place.dialling or not self._is_due(dial, row, now):
            return None
        if not self._has_tokens(place.rate, now):
            self.counters["dials_put_off"] += 1
            return None
        self.counters["dials"] += 1
        self._dials[dial.segment.index, dial.public_key] = dial
        place.dialling = True
        return dial

    def _is_due(self, dial: Dial, row: Row, now: float) -> bool:
        index = dial.segment.index
        if now < row.not_before or (index, dial.public_key) in self._dials:
            return False
        is_ours = self._own_key < dial.public_key
        return is_ours or (now >= row.since + GRACE and not self._is_calling(index, dial.address))

    def _has_tokens(self, rate: TokenBucket, now: float) -> bool:
        """Spend what a dial costs in all and at this address, or nothing."""
        if len(self._dials) >= MAX_DIALS or self._rate.spend(1, now):
            return False
        if rate.spend(1, now):
            self._rate.give_back(1)
            return False
        return True

    def _is_connected(self, index: int, key: bytes, remote: IpAddress) -> bool:
        """Whether this node is a peer on an interface, or has a link at least to this address there."""
        links = (self._links[number] for number in self._by_node.get((index, key), ()))
        return any(link.announced or link.remote == remote for link in links)

    def _is_calling(self, index: int, remote: IpAddress) -> bool:
        """Whether somebody at this address is just about to peer with us."""
        return any(
            link.segment.index == index
            and link.remote == remote
            and link.public_key is None
            and not link.dial
            for link in self._links.values()
        )

    def dial_failed(self, dial: Dial, now: float) -> None:
        """There was no connection."""
        self._settle(dial, now, failed=True)

    def dial_opened(self, dial: Dial, link: int, local: IpAddress, now: float) -> list[Closing]:
        """The connection is this link now, from this address of ours; its handshake belongs to the dial.

        It is to be closed if the segment went while it was dialled.
        """
        self._links[link] = _Link(dial.segment, local, dial.address, now, dial)
        return self._close_lost([link])

    def _settle(self, dial: Dial, now: float, *, failed: bool) -> None:
        """A dial is over, or the peering that came of it. Nothing happens if it was settled before."""
        row = self._row_of(dial)
        node = dial.segment.index, dial.public_key
        if self._dials.get(node) is dial:
            del self._dials[node]
            if place := self._neighbours.at((dial.segment.index, dial.address)):
                place.dialling = False
        if failed:
            self.counters["dials_failed"] += 1
        if failed and row is not None and row.port == dial.port:
            row.fail(now)

    def _row_of(self, dial: Dial) -> Row | None:
        return self._neighbours.row((dial.segment.index, dial.address), dial.public_key)

    # ---------------------------------------------------------------- links

    def called(self, link: int, segment: Segment, local: IpAddress, remote: IpAddress, now: float) -> None:
        """Another node opened this link."""
        self._links[link] = _Link(segment, local, remote, now, None)

    def link_up(self, number: int, key: bytes) -> list[Closing]:
        """The handshake on a link is done; the links that are to be closed. Links of others do not matter."""
        link = self._links.get(number)
        if link is None:
            return []
        link.public_key = key
        self._by_node[link.segment.index, key].add(number)
        if link.dial:
            self._settle(link.dial, link.opened, failed=False)
        return self._surplus(link.segment.index, key)

    def link_announced(self, number: int) -> list[Closing]:
        """A link has shown that it works; the links that are to be closed."""
        link = self._links.get(number)
        if link is None or link.public_key is None:
            return []
        link.announced = True
        return self._surplus(link.segment.index, link.public_key)

    def link_down(self, number: int, now: float) -> None:
        """A link is gone."""
        link = self._links.pop(number, None)
        if link is None:
            return
        self._forget_node(number, link)
        if link.dial:
            steady = link.announced and (now - link.opened >= STEADY or link.closing)
            self._settle(link.dial, now, failed=not steady and not link.closing)
            if steady and (row := self._row_of(link.dial)):
                row.failures = 0
        if link.public_key is not None:
            self._neighbours.note_absence(link.segment.index, link.public_key, now)

    def _forget_node(self, number: int, link: _Link) -> None:
        if link.public_key is not None:
            node = link.segment.index, link.public_key
            self._by_node[node].discard(number)
            if not self._by_node[node]:
                del self._by_node[node]

    def _surplus(self, index: int, key: bytes) -> list[Closing]:
        """The links to this node on this interface that another one, which works, makes superfluous."""
        links = [(number, self._links[number]) for number in sorted(self._by_node[index, key])]
        links = [(number, link) for number, link in links if not link.closing]
        return list(self._close([item for item in links if self._is_surplus(item[1], links)], SURPLUS))

    def _is_surplus(self, link: _Link, links: Sequence[tuple[int, _Link]]) -> bool:
        others = [other for _, other in links if other.announced and other.direction is not link.direction]
        if link.public_key is not None and self._own_key > link.public_key:
            return link.dial is not None and bool(others)
        return link.dial is None and any(other.remote == link.remote for other in others)

    def _close(self, links: Sequence[tuple[int, _Link]], reason: str) -> Iterator[Closing]:
        for number, link in links:
            if not link.closing:
                link.closing = True
                yield Closing(number, reason)

    # ---------------------------------------------------------------- looking

    def peers(self, index: int) -> int:
        """How many nodes are connected on an interface by discovery."""
        return sum(1 for at, _ in self._by_node if at == index)

    def waiting(self, index: int) -> int:
        """How many nodes are heard on an interface and not connected."""
        return sum(1 for key in self._neighbours.keys(index) if (index, key) not in self._by_node)
