# SPDX-License-Identifier: Apache-2.0
"""What a next-hop decision looks at, kept so that it takes two bisects (protocol section 5).

The router calls the mutators; `next_hop` reads the rows. Rows hold ports and expiry times, no objects of the
control plane. Three kinds of row:

- *tree keys*: every key that a live peer's announcement names, sorted, with the ports that offer it;
- *direct peers*: peers with an announcement, by their own key, because steps 5 and 7 prefer a peering to the
  node itself;
- *entries*: the bootstraps that were stored, in a sorted list of their own. That list may hold keys which
  cannot be used (expired, removed, source not live): the look-up that meets one drops it, so each costs once.
"""

from array import array
from bisect import bisect_left, insort
from typing import NamedTuple

from pineconed.wire.coordinates import Coords, encode_coords
from pineconed.wire.root import Root

ENTRY_SLACK = 64
"""Unusable keys that the sorted list of entries may hold whatever its length."""

PACKED_PORT = array("Q").itemsize
"""Bytes of one port in packed coords."""

SLOW_TYPE = 4
"""The peer type from which on a peering (Bluetooth) takes no traffic while its node has a better one."""


class PeerAnnouncement(NamedTuple):
    """The part of a peer's last tree announcement that forwarding needs.

    `coords` are the peer's own; `order` is its place in the order in which all announcements were received.
    """

    root: Root
    coords: Coords
    signers: tuple[bytes, ...]
    order: int


class PeerRow(NamedTuple):
    """One peering; a lower `peer_type` is preferred, only live ones are next hops.

    `packed` are the peer's coords as `pack_coords` makes them.
    """

    public_key: bytes
    peer_type: int
    live: bool
    announcement: PeerAnnouncement | None
    packed: bytes


class EntryRow(NamedTuple):
    """One stored bootstrap: its sequence, the port it came by, and the time (seconds) when it is void."""

    sequence: int
    source_port: int
    expires_at: float


class ForwardingTable:
    """The rows, and the mutators that the router calls.

    Nothing here is bounded by itself: the router bounds peers, signers and entries before they get here.
    Attributes are for reading; `version` grows with every mutation and so tells a stale look-up.
    """

    def __init__(self, own_key: bytes) -> None:
        self.own_key = own_key
        self.version = 0
        self.root = Root(own_key, 0)
        self.coords: Coords = ()
        self.encoded_coords = encode_coords(())
        self.parent: int | None = None
        self.is_stale = True
        """Whether the next five have to be renewed by `rebuild` before a look-up reads them."""
        self.live_parent = 0
        """The parent's port if it is live, else 0."""
        self.peers: dict[int, PeerRow] = {}
        self.tree_peers: list[tuple[int, PeerRow, PeerAnnouncement]] = []
        """Live peers that follow our root, in the order of their ports."""
        self.direct: dict[bytes, list[int]] = {}
        """Ports of the peers with an announcement by the peer's own key, ascending, live or not."""
        self.nearest: dict[bytes, int] = {}
        """What steps 5 and 7 choose for the own key of a live peer with an announcement."""
        self.faster: dict[int, int] = {}
        """For slow peerings the port of the best other peering to the same node, where there is one."""
        self.tree_keys: list[bytes] = []
        self.offers: dict[bytes, int] = {}
        """By tree key the ports of the live peers whose announcement names it, as a bit mask."""
        self.entry_keys: list[bytes] = []
        self.entries: dict[bytes, EntryRow] = {}
        self._entries_of: dict[int, set[bytes]] = {}

    # Ourselves

    def set_self(self, coords: Coords, root: Root) -> None:
        """Set our place in the tree and the root that we follow."""
        self.coords = coords
        self.encoded_coords = encode_coords(coords)
        self.root = root
        self._changed()

    def set_parent(self, port: int | None) -> None:
        """Set the port of our parent; None for a root."""
        self.parent = port
        self._changed()

    # Peers

    def set_peer(
        self, port: int, public_key: bytes, peer_type: int, live: bool, announcement: PeerAnnouncement | None
    ) -> None:
        """Add the peer at `port` or replace what is known of it."""
        before = self.peers.get(port)
        packed = pack_coords(announcement.coords) if announcement else b""
        row = self.peers[port] = PeerRow(public_key, peer_type, live, announcement, packed)
        self._change_offers(port, _offered(before), _offered(row))
        if live and not (before and before.live):
            self._index_entries_of(port)
        self._changed()

    def remove_peer(self, port: int) -> None:
        """Forget the peer at `port`; the entries that it was the source of are for the router to remove."""
        self._change_offers(port, _offered(self.peers.pop(port, None)), {})
        self._changed()

    def _change_offers(self, port: int, before: dict[bytes, None], after: dict[bytes, None]) -> None:
        for key in before:
            if key not in after:
                self._withdraw(key, 1 << port)
        for key in after:
            if key not in before:
                if key not in self.offers:
                    insort(self.tree_keys, key)
                self.offers[key] = self.offers.get(key, 0) | 1 << port

    def _withdraw(self, key: bytes, port_bit: int) -> None:
        self.offers[key] &= ~port_bit
        if not self.offers[key]:
            del self.offers[key]
            del self.tree_keys[bisect_left(self.tree_keys, key)]

    def _changed(self) -> None:
        self.version += 1
        self.is_stale = True

    def rebuild(self) -> None:
        """Renew the rows that depend on several peers at once; for look-ups that find `is_stale` set."""
        self.is_stale = False
        parent = self.parent or 0
        self.live_parent = parent if self._is_live(parent) else 0
        self.tree_peers = []
        self.direct = {}
        for port in sorted(self.peers):
            row = self.peers[port]
            if row.announcement is None:
                continue
            self.direct.setdefault(row.public_key, []).append(port)
            if row.live and row.announcement.root == self.root:
                self.tree_peers.append((port, row, row.announcement))
        self.nearest = {}
        for key, ports in self.direct.items():
            live = [port for port in ports if self.peers[port].live]
            if live:
                self.nearest[key] = self.prefer_direct(key, live[-1])
        self.faster = {port: best for port in self.peers if (best := self._faster_than(port)) != port}

    def _faster_than(self, port: int) -> int:
        slow = self.peers[port]
        if slow.peer_type < SLOW_TYPE:
            return port
        best = port
        for other in self.direct.get(slow.public_key, ()):
            row = self.peers[other]
            if row.live and row.peer_type < self.peers[best].peer_type:
                best = other
        return best

    def prefer_direct(self, key: bytes, port: int) -> int:
        """Step 7: the port to use instead of `port` where the best key is that of a direct peer."""
        best = self.peers.get(port)
        if best is None or best.announcement is None:
            return port
        for other in self.direct.get(key, ()):
            row = self.peers[other]
            if _is_preferred(row, best):
                port, best = other, row
        return port

    # Entries

    def set_entry(self, public_key: bytes, sequence: int, source_port: int, expires_at: float) -> None:
        """Store a bootstrap of `public_key` that came by `source_port`; it is void from `expires_at` on."""
        self._unlink(public_key)
        self.entries[public_key] = EntryRow(sequence, source_port, expires_at)
        self._entries_of.setdefault(source_port, set()).add(public_key)
        self._index_entry(public_key)
        self.version += 1

    def remove_entry(self, public_key: bytes) -> None:
        """Forget the entry of `public_key`, if there is one."""
        self._unlink(public_key)
        self.version += 1

    def _unlink(self, public_key: bytes) -> None:
        entry = self.entries.pop(public_key, None)
        if entry is None:
            return
        keys = self._entries_of[entry.source_port]
        keys.remove(public_key)
        if not keys:
            del self._entries_of[entry.source_port]

    def _index_entry(self, public_key: bytes) -> None:
        keys = self.entry_keys
        if len(keys) > 2 * len(self.entries) + ENTRY_SLACK:
            keys[:] = [key for key in keys if key in self.entries]
        position = bisect_left(keys, public_key)
        if position == len(keys) or keys[position] != public_key:
            keys.insert(position, public_key)

    def _index_entries_of(self, port: int) -> None:
        """Put back what look-ups dropped from the sorted list while the peer at `port` was not live."""
        if port in self._entries_of:
            indexed = set(self.entry_keys)
            self.entry_keys += self._entries_of[port] - indexed
            self.entry_keys.sort()

    def is_usable(self, entry: EntryRow | None, now: float) -> bool:
        """Whether an entry is there, has not expired and came by a live peer."""
        if entry is None or now >= entry.expires_at:
            return False
        return self._is_live(entry.source_port)

    def _is_live(self, port: int) -> bool:
        row = self.peers.get(port)
        return row is not None and row.live


def pack_coords(coords: Coords) -> bytes:
    """Coords with `PACKED_PORT` bytes for each port, so that prefixes can be compared at once."""
    return array("Q", coords).tobytes()


def _offered(row: PeerRow | None) -> dict[bytes, None]:
    """The keys that a peer offers, each once."""
    if row is None or not row.live or row.announcement is None:
        return {}
    return dict.fromkeys(row.announcement.signers)


def _is_preferred(row: PeerRow, best: PeerRow) -> bool:
    """Whether one announced peer is to be taken rather than another (step 7)."""
    if row.peer_type != best.peer_type:
        return row.peer_type < best.peer_type
    if (
        row.announcement is None
        or best.announcement is None
        or row.announcement.root != best.announcement.root
    ):
        return False
    return row.announcement.order < best.announcement.order
