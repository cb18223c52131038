# SPDX-License-Identifier: Apache-2.0
"""Wakeup broadcasts: a node tells those around it that it is there (protocol section 7)."""

from dataclasses import dataclass, replace
from enum import StrEnum

from pineconed.clock import Now
from pineconed.dataplane.next_hop import LOCAL
from pineconed.dataplane.queues import Queues
from pineconed.router.payload_signer import PayloadSigner
from pineconed.router.peer import Peer, Peers, by_port
from pineconed.router.shares import Shares
from pineconed.router.tree import Tree
from pineconed.router.verification import SignatureBudget
from pineconed.signing import Signer, Verifier
from pineconed.wire.coordinates import distance
from pineconed.wire.errors import CodecError
from pineconed.wire.frame import WakeupBroadcastFrame, encode_frame
from pineconed.wire.signed_payload import SignedPayload, decode_payload, signed_bytes

BROADCAST_INTERVAL = 60.0
"""Seconds between our broadcasts, and between purges of those seen."""

FILTER_TIME = 30.0
"""Seconds in which a second broadcast of one node is ignored."""

SEEN_LIFETIME = 180.0
"""Seconds that a broadcast is remembered."""

HOP_LIMIT = 5
"""Hop limit of our broadcasts, and the most that we believe of others'."""

FLOOD_TO_ALL = HOP_LIMIT - 1
"""While the hop limit to be sent is this or more, every peer gets a copy."""

MAX_SEEN = 32768
"""Broadcasting nodes that are remembered, divided among the peerings."""


class BroadcastVerdict(StrEnum):
    """What became of a broadcast that arrived."""

    SEEN = "seen"
    OWN = "broadcast_own"
    MALFORMED = "broadcast_malformed"
    OTHER_ROOT = "broadcast_other_root"
    REPEATED = "broadcast_repeated"
    NO_ROOM = "broadcast_table_full"
    OVER_BUDGET = "broadcast_over_budget"
    BAD_SIGNATURE = "broadcast_bad_signature"


@dataclass(frozen=True, slots=True)
class Seen:
    """The last broadcast of a node that counted; its port is 0 once the peering that it came by is gone."""

    sequence: int
    at: float
    port: int


class Broadcasts:
    """Sends our broadcasts, and remembers and floods those of others."""

    def __init__(
        self, *, signer: Signer, verifier: Verifier, peers: Peers, tree: Tree, queues: Queues, now: float
    ) -> None:
        self.seen: dict[bytes, Seen] = {}
        self.shares = Shares(MAX_SEEN)
        self._own_key = signer.public_key
        self._payloads = PayloadSigner(signer)
        self._verifier = verifier
        self._peers = peers
        self._tree = tree
        self._queues = queues
        self.due = now + BROADCAST_INTERVAL

    def handle_timer(self, now: Now) -> None:
        """Every minute: purge what is old and broadcast to every peer."""
        if now.seconds < self.due:
            return
        self.due = now.seconds + BROADCAST_INTERVAL
        self._purge(now.seconds)
        self._flood(self._own_frame(now), from_port=None)

    def greet(self, peer: Peer, now: Now) -> None:
        """Send one broadcast to a node that has just announced itself."""
        self._queues[peer.port].push_protocol(encode_frame(self._own_frame(now)))

    def handle(
        self, frame: WakeupBroadcastFrame, from_port: int, budget: SignatureBudget, now: float
    ) -> BroadcastVerdict:
        """Take note of a broadcast from a peer and flood it on, unless a check fails."""
        try:
            payload = decode_payload(frame.payload)
        except CodecError:
            return BroadcastVerdict.MALFORMED
        verdict = self._check(frame.source_key, payload, from_port, budget, now)
        if verdict is BroadcastVerdict.SEEN:
            self._remember(frame.source_key, Seen(payload.sequence, now, from_port))
            hop_limit = min(frame.hop_limit, HOP_LIMIT)
            if hop_limit > 1:
                self._flood(replace(frame, hop_limit=hop_limit - 1), from_port)
        return verdict

    def release_port(self, port: int) -> None:
        """A peering is gone: the next one at its port shall have all of its share.

        What came by it is still remembered, lest it be flooded again, as far as one more share goes.
        """
        if not self.shares.held(port):
            return
        for source, seen in [item for item in self.seen.items() if item[1].port == port]:
            self._forget(source)
            if self.shares.admits(LOCAL, len(self._peers), holds_it=False):
                self._remember(source, replace(seen, port=LOCAL))

    def reset(self) -> None:
        """Forget every broadcast seen."""
        for source in list(self.seen):
            self._forget(source)

    # Checks and memory

    def _check(
        self, source: bytes, payload: SignedPayload, from_port: int, budget: SignatureBudget, now: float
    ) -> BroadcastVerdict:
        if source == self._own_key:
            return BroadcastVerdict.OWN
        if payload.root.public_key != self._tree.root.public_key:
            return BroadcastVerdict.OTHER_ROOT
        known = self.seen.get(source)
        if known and (now - known.at < FILTER_TIME or payload.sequence <= known.sequence):
            return BroadcastVerdict.REPEATED
        holds_it = known is not None and known.port == from_port
        if not self.shares.admits(from_port, len(self._peers), holds_it=holds_it):
            return BroadcastVerdict.NO_ROOM
        if budget.spend(1, now):
            return BroadcastVerdict.OVER_BUDGET
        if not self._verifier(source, signed_bytes(payload.sequence, payload.root), payload.signature):
            return BroadcastVerdict.BAD_SIGNATURE
        return BroadcastVerdict.SEEN

    def _remember(self, source: bytes, seen: Seen) -> None:
        if source in self.seen:
            self._forget(source)
        self.seen[source] = seen
        self.shares.add(seen.port)

    def _forget(self, source: bytes) -> None:
        self.shares.remove(self.seen.pop(source).port)

    def _purge(self, now: float) -> None:
        for source in [key for key, seen in self.seen.items() if now - seen.at >= SEEN_LIFETIME]:
            self._forget(source)

    # Flooding

    def _own_frame(self, now: Now) -> WakeupBroadcastFrame:
        payload = self._payloads.payload(self._tree.root, now)
        return WakeupBroadcastFrame(self._own_key, payload, hop_limit=HOP_LIMIT)

    def _flood(self, frame: WakeupBroadcastFrame, from_port: int | None) -> None:
        encoded = encode_frame(frame)
        for peer in self._best_peerings(from_port):
            if frame.hop_limit >= FLOOD_TO_ALL or self._is_tree_neighbour(peer):
                self._queues[peer.port].push_protocol(encoded)

    def _best_peerings(self, from_port: int | None) -> list[Peer]:
        """One peering a node, all but the one given: the lower type, then the lower receive order."""
        best: dict[bytes, Peer] = {}
        for peer in by_port(self._peers):
            known = best.get(peer.public_key)
            if peer.port != from_port and (known is None or _preference(peer) < _preference(known)):
                best[peer.public_key] = peer
        return list(best.values())

    def _is_tree_neighbour(self, peer: Peer) -> bool:
        told = peer.heard
        return told is not None and distance(told.announcement.peer_coords, self._tree.coords) == 1


def _preference(peer: Peer) -> tuple[int, float]:
    return peer.peer_type, peer.heard.order if peer.heard else float("inf")
