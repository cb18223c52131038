# SPDX-License-Identifier: Apache-2.0
"""Whom to dial, when, and which peerings are one too many (protocol section 8). No I/O, no clock.

Between two nodes of this kind there is one peering on each interface, whatever the IP version:

- Nobody is dialled who is connected on that interface already, by either side.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pineconed.discovery.beacon import Beacon, decode_beacon
from pineconed.discovery.interfaces import IpAddress
from pineconed.discovery.segments import Segment
from pineconed.rate import TokenBucket
from pineconed.router.peer import Direction

GRACE = 3.0
"""Seconds from the first beacon until the node with the higher key dials: one and a half intervals."""

FORGET = 15.0
"""Seconds without a beacon after which a node is forgotten, unless it has yet to wait for its next dial."""

FIRST_WAIT = 4.0
LONGEST_WAIT = 300.0
"""Seconds until somebody who was dialled in vain is dialled again: at first, and at most; it doubles."""

STEADY = 30.0
"""Seconds after which a peering counts as a success although it ended."""

MAX_ROWS = 1024
"""Nodes that are not connected and that are remembered from their beacons."""

MAX_ROWS_PER_ADDRESS = 8
"""The same for one address: several nodes may run on one host."""

MAX_DIALS = 32
"""Dials at a time."""

DIALS_PER_SECOND = 10.0
DIALS_BURST = 20
"""How fast new dials may follow each other."""

DIALS_PER_SECOND_AND_ADDRESS = 0.2
DIALS_BURST_PER_ADDRESS = 3
"""The same for one address, so that nobody can have us pester it by beacons in its name."""

GONE = "the interface or its address is gone"
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
class _Row:
    """A node that is not connected, as its beacons from one address tell.

    `since`: when its absence was noticed; `heard`: its last beacon; `not_before`: when it may be dialled.
    """

    port: int
    since: float
    heard: float
    not_before: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class _Address:
    """What one address on an interface has: rows by key, the rate of its dials, whether one runs."""

    rate: TokenBucket
    rows: dict[bytes, _Row] = field(default_factory=dict)
    dialling: bool = False


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


_Where = tuple[int, IpAddress]
"""The index of an interface and an address on it."""

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
        self._addresses: dict[_Where, _Address] = {}
        self._rows = 0
        self._swept = 0.0
        self._dials: dict[_Node, Dial] = {}
        self._links: dict[int, _Link] = {}
        self._by_node: defaultdict[_Node, set[int]] = defaultdict(set)
        self._rate = TokenBucket(DIALS_PER_SECOND, DIALS_BURST)

    # ---------------------------------------------------------------- interfaces

    def set_segments(self, segments: Sequence[Segment]) -> list[Closing]:
        """These are all segments from now on; the links that have lost theirs, or their address on it."""
        self._segments = tuple(segments)
        alive = {(segment.index, address) for segment in segments for address in segment.own}
        indexes = {segment.index for segment in segments}
        for where in [where for where in self._addresses if where[0] not in indexes]:
            self._rows -= len(self._addresses.pop(where).rows)
        lost = [
            (number, link)
            for number, link in self._links.items()
            if (link.segment.index, link.local) not in alive
        ]
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
        connected = (segment.index, beacon.public_key) in self._by_node
        if not connected and not self._welcome(beacon.public_key):
            self.counters["beacons_not_allowed"] += 1
            return None
        row = self._note(segment.index, beacon, source, now, add=not connected)
        if row is None or connected or not self._may_dial(segment, beacon.public_key, source, row, now):
            return None
        return self._dial(Dial(beacon.public_key, segment, source, row.port))

    def _objection(self, segment: Segment, beacon: Beacon | None, source: IpAddress) -> str | None:
        """The counter of a datagram that is not worth a look."""
        if beacon is None:
            return "beacons_too_short"
        if beacon.public_key == self._own_key:
            return "beacons_of_own" if source in segment.own else "beacons_of_own_key_elsewhere"
        if beacon.port == 0:
            return "beacons_without_port"
        return None if segment.reaches(source) else "beacons_from_off_link"

    def _note(self, index: int, beacon: Beacon, source: IpAddress, now: float, *, add: bool) -> _Row | None:
        """The row of a beacon; a new one with `add`, None if there is none or no room."""
        place = self._addresses.get((index, source))
        row = place.rows.get(beacon.public_key) if place else None
        if row is None:
            return self._add_row((index, source), beacon, now) if add else None
        row.heard = now
        if row.port != beacon.port:  # it was started anew
            row.port, row.failures, row.not_before = beacon.port, 0, 0.0
        return row

    def _add_row(self, where: _Where, beacon: Beacon, now: float) -> _Row | None:
        place = self._addresses.get(where)
        if place is not None and len(place.rows) >= MAX_ROWS_PER_ADDRESS and not self._drop_failed(place):
            self.counters["beacons_over_limit"] += 1
            return None
        if self._rows >= MAX_ROWS and not self._has_swept(now):
            self.counters["beacons_over_limit"] += 1
            return None
        # Sweeping may have taken the address away.
        place = self._addresses.setdefault(where, place or _Address(_address_rate(now)))
        row = place.rows[beacon.public_key] = _Row(beacon.port, since=now, heard=now)
        self._rows += 1
        return row

    def _drop_failed(self, place: _Address) -> bool:
        """Make room for a new key of an address: the one that was dialled in vain most often goes."""
        key, row = max(place.rows.items(), key=lambda item: item[1].failures)
        if not row.failures:
            return False
        del place.rows[key]
        self._rows -= 1
        return True

    def sweep(self, now: float) -> None:
        """Forget those that are silent."""
        self._swept = now
        for where, place in list(self._addresses.items()):
            self._sweep_address(where, place, now)

    def _has_swept(self, now: float) -> bool:
        """Make room, but look for it once a second at most; whether there is any."""
        if now - self._swept >= 1:
            self.sweep(now)
        return self._rows < MAX_ROWS

    def _sweep_address(self, where: _Where, place: _Address, now: float) -> None:
        over = [key for key, row in place.rows.items() if now >= max(row.heard + FORGET, row.not_before)]
        for key in over:
            del place.rows[key]
        self._rows -= len(over)
        if not place.rows and not place.dialling:
            del self._addresses[where]

    # ---------------------------------------------------------------- dials

    def _may_dial(self, segment: Segment, key: bytes, source: IpAddress, row: _Row, now: float) -> bool:
        place = self._addresses[segment.index, source]
        if place.dialling or now < row.not_before or (segment.index, key) in self._dials:
            return False
        if self._own_key > key and (now < row.since + GRACE or self._is_calling(segment.index, source)):
            return False
        if len(self._dials) >= MAX_DIALS or self._rate.spend(1, now):
            self.counters["dials_put_off"] += 1
            return False
        if place.rate.spend(1, now):
            self._rate.give_back(1)
            self.counters["dials_put_off"] += 1
            return False
        return True

    def _dial(self, dial: Dial) -> Dial:
        self.counters["dials"] += 1
        self._dials[dial.segment.index, dial.public_key] = dial
        self._addresses[dial.segment.index, dial.address].dialling = True
        return dial

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

    def dial_opened(self, dial: Dial, link: int, local: IpAddress, now: float) -> None:
        """The connection is this link now, from this address of ours; its handshake belongs to the dial."""
        self._links[link] = _Link(dial.segment, local, dial.address, now, dial)

    def _settle(self, dial: Dial, now: float, *, failed: bool) -> None:
        """A dial is over, or the peering that came of it. Nothing happens if it was settled before."""
        row = self._row_of(dial)
        node = dial.segment.index, dial.public_key
        if self._dials.get(node) is dial:
            del self._dials[node]
            if place := self._addresses.get((dial.segment.index, dial.address)):
                place.dialling = False
        if failed:
            self.counters["dials_failed"] += 1
        if failed and row is not None and row.port == dial.port:
            row.not_before = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(row.failures, 16))
            row.failures += 1

    def _row_of(self, dial: Dial) -> _Row | None:
        place = self._addresses.get((dial.segment.index, dial.address))
        return place.rows.get(dial.public_key) if place else None

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
            self._note_absence(link.segment.index, link.public_key, now)

    def _forget_node(self, number: int, link: _Link) -> None:
        if link.public_key is not None:
            node = link.segment.index, link.public_key
            self._by_node[node].discard(number)
            if not self._by_node[node]:
                del self._by_node[node]

    def _note_absence(self, index: int, key: bytes, now: float) -> None:
        """From now on the other side has its time to dial."""
        for (at, _), place in self._addresses.items():
            if at == index and key in place.rows:
                place.rows[key].since = now

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
        keys = {key for (at, _), place in self._addresses.items() if at == index for key in place.rows}
        return sum(1 for key in keys if (index, key) not in self._by_node)


def _address_rate(now: float) -> TokenBucket:
    return TokenBucket(DIALS_PER_SECOND_AND_ADDRESS, DIALS_BURST_PER_ADDRESS, DIALS_BURST_PER_ADDRESS, now)
