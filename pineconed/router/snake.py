# SPDX-License-Identifier: Apache-2.0
"""The virtual snake: bootstraps, the paths they leave behind, the descending node (protocol section 5)."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from pineconed.clock import Now
from pineconed.dataplane.forward import acceptable
from pineconed.dataplane.next_hop import SnakeHop, next_hop_snake
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.router.payload_signer import PayloadSigner
from pineconed.router.peer import Peers
from pineconed.router.shares import Shares
from pineconed.router.verification import SignatureBudget
from pineconed.signing import Signer, Verifier
from pineconed.wire.errors import CodecError
from pineconed.wire.frame import BootstrapFrame, encode_frame
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import SignedPayload, decode_payload, signed_bytes
from pineconed.wire.watermark import FULL, Watermark

BOOTSTRAP_INTERVAL = 5.0
"""Seconds between our bootstraps."""

UPKEEP_SLACK = 0.5
"""Seconds by which a bootstrap may be early, lest an upkeep that wakes early delay it by a second."""

ENTRY_LIFETIME = 10.0
"""Seconds that a path lives after its last bootstrap."""

PATH_LIFETIME = 8.5
"""Seconds that frames follow a path after its last bootstrap.

Shorter than the life of the entry, so that a path which was cut further along misleads frames less long;
the next bootstrap is due after 5 to 6 s, so a path that stands is always renewed before.
"""

MAX_ENTRIES = 32768
"""Paths that a node keeps, divided among its peerings."""

COMMON_ENTRIES = MAX_ENTRIES // 2
"""Of these, for whoever comes first: in an honest network most paths come by few peerings."""


class BootstrapVerdict(StrEnum):
    """What became of a bootstrap that arrived."""

    STORED = "stored"
    MALFORMED = "bootstrap_malformed"
    OTHER_ROOT = "bootstrap_other_root"
    OLD = "bootstrap_old_sequence"
    NO_ROOM = "bootstrap_table_full"
    OVER_BUDGET = "bootstrap_over_budget"
    BAD_SIGNATURE = "bootstrap_bad_signature"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path: bootstraps of `public_key` came from `source` and went on to `destination`, if anywhere."""

    public_key: bytes
    sequence: int
    source: int
    destination: int | None
    last_seen: float
    root: Root

    def is_valid(self, now: float) -> bool:
        """Whether the path is still fresh at `now` seconds."""
        return now - self.last_seen < ENTRY_LIFETIME


class Snake:
    """The snake table and this node's own bootstraps."""

    def __init__(
        self, *, signer: Signer, verifier: Verifier, peers: Peers, table: ForwardingTable, queues: Queues
    ) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.descending: Entry | None = None
        self.shares = Shares(MAX_ENTRIES, COMMON_ENTRIES)
        self.bootstraps_sent = 0
        self._own_key = signer.public_key
        self._payloads = PayloadSigner(signer)
        self._verifier = verifier
        self._peers = peers
        self._table = table
        self._queues = queues
        self._bootstrap_due = float("-inf")
        self._ascending: tuple[int | None, bytes] = (None, b"")
        """Where our last bootstrap went: the port, and the key that it was to reach."""
        self._through: dict[int, dict[bytes, None]] = {}
        """By port the keys of the paths that come or go there, so that a lost peering costs only its own."""

    def bootstrap_soon(self) -> None:
        """Make the next upkeep send a bootstrap."""
        self._bootstrap_due = float("-inf")

    def upkeep(self, root: Root, *, is_root: bool, now: Now) -> None:
        """What happens every second: forget what is old, bootstrap when it is time."""
        descending = self.descending
        if descending and (not descending.is_valid(now.seconds) or descending.root != root):
            self._set_descending(None)
        self._forget_old(now.seconds)
        if not is_root:
            self._bootstrap_if_due(root, now)

    def handle(
        self, frame: BootstrapFrame, from_port: int, root: Root, budget: SignatureBudget, now: Now
    ) -> BootstrapVerdict:
        """Store and pass on a bootstrap from a peer, unless a check fails. `root` is the one we follow."""
        try:
            payload = decode_payload(frame.payload)
        except CodecError:
            return BootstrapVerdict.MALFORMED
        verdict = self._check(frame.destination_key, payload, from_port, root, budget, now.seconds)
        if verdict is BootstrapVerdict.STORED:
            self._accept(frame, payload, from_port, now.seconds)
        return verdict

    def forget_port(self, port: int) -> None:
        """Drop the paths that led through a peering that is gone."""
        for key in [*self._through.get(port, ())]:
            self._remove(self.entries[key])
        if self.descending and self.descending.source == port:
            self._set_descending(None)

    def reset(self) -> None:
        """Forget everything but the sequence of our bootstraps."""
        for entry in list(self.entries.values()):
            self._remove(entry)
        self._set_descending(None)

    # Bootstraps of others

    def _check(
        self,
        key: bytes,
        payload: SignedPayload,
        from_port: int,
        root: Root,
        budget: SignatureBudget,
        now: float,
    ) -> BootstrapVerdict:
        if payload.root != root:
            return BootstrapVerdict.OTHER_ROOT
        known = self.entries.get(key)
        if known and known.root == root and payload.sequence <= known.sequence:
            return BootstrapVerdict.OLD
        holds_it = known is not None and known.source == from_port
        if not self.shares.admits(from_port, len(self._peers), holds_it=holds_it):
            return BootstrapVerdict.NO_ROOM
        if budget.spend(1, now):
            return BootstrapVerdict.OVER_BUDGET
        if not self._verifier(key, signed_bytes(payload.sequence, payload.root), payload.signature):
            return BootstrapVerdict.BAD_SIGNATURE
        return BootstrapVerdict.STORED

    def _accept(self, frame: BootstrapFrame, payload: SignedPayload, from_port: int, now: float) -> None:
        key = frame.destination_key
        port, closest, sequence = self._onward_hop(key, from_port, frame.watermark, now)
        entry = Entry(key, payload.sequence, from_port, port, now, payload.root)
        self._store(entry)
        if self._becomes_descending(entry, now):
            self._set_descending(entry)
        self._pass_on(frame, from_port, port, Watermark(closest, sequence))

    def _onward_hop(self, key: bytes, from_port: int, watermark: Watermark, now: float) -> SnakeHop:
        """The next hop, without paths that this very frame proves to be stale.

        Whoever had the path that it gave us would have taken it; its frame would not be here, where that path
        leads back. So a peer can end only paths that came by itself.
        """
        while True:
            hop = next_hop_snake(self._table, key, True, watermark, now)
            stale = self.entries.get(hop[1])
            if hop[0] != from_port or stale is None or stale.source != from_port:
                return hop
            self._remove(stale)

    def _store(self, entry: Entry) -> None:
        if replaced := self.entries.get(entry.public_key):
            self._remove(replaced)
        self.entries[entry.public_key] = entry
        self.shares.add(entry.source)
        for port in _ports_of(entry):
            self._through.setdefault(port, {})[entry.public_key] = None
        expires_at = entry.last_seen + PATH_LIFETIME
        self._table.set_entry(entry.public_key, entry.sequence, entry.source, expires_at)

    def _remove(self, entry: Entry) -> None:
        del self.entries[entry.public_key]
        self.shares.remove(entry.source)
        for port in _ports_of(entry):
            del self._through[port][entry.public_key]
        self._table.remove_entry(entry.public_key)

    def _forget_old(self, now: float) -> None:
        """Drop expired entries; they stand in the order in which they were last seen.

        One walk finds them all: to ask a dict for its first key again and again takes the square of the time.
        """
        for entry in list(takewhile(lambda entry: not entry.is_valid(now), self.entries.values())):
            self._remove(entry)

    def _becomes_descending(self, entry: Entry, now: float) -> bool:
        if entry.public_key >= self._own_key:
            return False
        descending = self.descending
        if descending is None or not descending.is_valid(now):
            return True
        return entry.public_key >= descending.public_key

    def _set_descending(self, entry: Entry | None) -> None:
        was = self.descending
        if was is None or entry is None or was.public_key != entry.public_key:
            self.bootstrap_soon()
        self.descending = entry

    def _pass_on(self, frame: BootstrapFrame, from_port: int, port: int | None, watermark: Watermark) -> None:
        if port is None or not acceptable(port, from_port, watermark, frame.watermark):
            return
        onward = BootstrapFrame(
            frame.destination_key,
            watermark,
            frame.payload,
            extra=frame.extra,
            hop_limit=frame.hop_limit,
            version=frame.version,
        )
        self._push(port, onward)

    # Our own bootstraps

    def _bootstrap_if_due(self, root: Root, now: Now) -> None:
        """Bootstrap when it is time, or when it would go another way than the last one did."""
        port, key, sequence = next_hop_snake(self._table, self._own_key, True, FULL, now.seconds)
        if now.seconds < self._bootstrap_due and (port, key) == self._ascending:
            return
        self._bootstrap_due = now.seconds + BOOTSTRAP_INTERVAL - UPKEEP_SLACK
        self._ascending = port, key
        if port is not None:
            payload = self._payloads.payload(root, now)
            self._push(port, BootstrapFrame(self._own_key, Watermark(key, sequence), payload))
            self.bootstraps_sent += 1

    def _push(self, port: int, frame: BootstrapFrame) -> None:
        self._queues[port].push_protocol(encode_frame(frame))


def _ports_of(entry: Entry) -> set[int]:
    """The peerings that a path leads through."""
    return {port for port in (entry.source, entry.destination) if port is not None}
