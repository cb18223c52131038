# SPDX-License-Identifier: Apache-2.0
"""The control plane in one piece: peers come and go, protocol frames arrive, timers fire.

The flow of a frame: the node hands it to `handle_announcement`, `handle_bootstrap` or
`handle_broadcast`; checks that cost nothing come first, signatures are paid from the peering's
budget, then `Tree`, `Snake` or `Broadcasts` act. What they have to say leaves by the queues,
what they learn goes into the forwarding table, what others should know into the events.
"""

from collections import Counter
from dataclasses import dataclass

from pineconed.clock import Now
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.router.broadcast import Broadcasts, BroadcastVerdict
from pineconed.router.errors import PeerFaultError
from pineconed.router.events import Event, NodeSeen
from pineconed.router.peer import Peer, Peers, PeerType
from pineconed.router.snake import BootstrapVerdict, Snake
from pineconed.router.tree import Tree
from pineconed.router.verification import (
    ANNOUNCEMENT_COST,
    MAX_HOPS,
    AnnouncementVerifier,
    SignatureBudget,
    check_announcement,
    common_budget,
)
from pineconed.signing import Signer, Verifier
from pineconed.wire.announcement import Announcement, decode_announcement
from pineconed.wire.frame import BootstrapFrame, TreeAnnouncementFrame, WakeupBroadcastFrame

UPKEEP_INTERVAL = 1.0
"""Seconds between two rounds of upkeep of the snake."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An announcement that waits for budget until `retry_at`; it is the newest of its peer."""

    update: Announcement
    retry_at: float


class Router:
    """Who the peers are and what they said. Times are in seconds of the injected clock."""

    def __init__(
        self,
        *,
        signer: Signer,
        verifier: Verifier,
        table: ForwardingTable,
        queues: Queues,
        events: list[Event],
        now: Now,
    ) -> None:
        self.peers: Peers = {}
        self.dropped: Counter[str] = Counter()
        self.tree = Tree(
            signer=signer,
            peers=self.peers,
            table=table,
            queues=queues,
            events=events,
            sequence=now.unix_ms // 1000,
        )
        self.snake = Snake(signer=signer, verifier=verifier, peers=self.peers, table=table, queues=queues)
        self.broadcasts = Broadcasts(
            signer=signer,
            verifier=verifier,
            peers=self.peers,
            tree=self.tree,
            queues=queues,
            now=now.seconds,
        )
        self._table = table
        self._events = events
        self._announcements = AnnouncementVerifier(verifier)
        self._common_budget = common_budget()
        self._budgets: dict[int, SignatureBudget] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._upkeep_at = now.seconds + UPKEEP_INTERVAL

    # Peers

    def start(self, now: Now) -> None:
        """Begin as the root of our own tree."""
        self.tree.start(now.seconds)

    def add_peer(self, port: int, public_key: bytes, peer_type: PeerType, now: Now) -> None:
        """A handshake is done: greet the peer with our announcement. Its queue must exist."""
        peer = self.peers[port] = Peer(port, public_key, peer_type)
        self._budgets[port] = SignatureBudget(self._common_budget, now.seconds)
        self._table.set_peer(port, public_key, peer_type, peer.live, None)
        self.tree.greet(peer)

    def remove_peer(self, port: int, now: Now) -> None:
        """A peering is gone: forget what came by it, find another parent if it was ours."""
        peer = self.peers.pop(port)
        del self._budgets[port]
        self._waiting.pop(port, None)
        if not self.peers:
            self._reset(peer, now)
            return
        self.snake.forget_port(port)
        self.broadcasts.release_port(port)
        if self.tree.forget(peer, now.seconds):
            self.snake.bootstrap_soon()
        self._table.remove_peer(port)

    def set_live(self, port: int, live: bool) -> None:
        """Note whether frames may be sent by this peering while another leads to the same node."""
        peer = self.peers[port]
        if peer.live != live:
            peer.live = live
            self.tree.tell_table_of(peer)

    def _reset(self, last: Peer, now: Now) -> None:
        self.snake.reset()
        self.broadcasts.reset()
        last.heard = None
        self._table.remove_peer(last.port)
        self.tree.reset(now.seconds)

    # Frames

    def handle_announcement(self, port: int, frame: TreeAnnouncementFrame, now: Now) -> bool:
        """Take a tree announcement; False where it has more hops than are judged.

        Raises `CodecError` or `PeerFaultError` where it ends the peering.
        """
        peer = self.peers[port]
        update = decode_announcement(frame.payload)
        check_announcement(update, peer.public_key, self._last_announced(peer))
        if len(update.hops) > MAX_HOPS:
            self.dropped["announcement_too_long"] += 1
            self._waiting.pop(port, None)
            self._bootstrap_soon_if(self.tree.forget(peer, now.seconds))
            return False
        waiting = self._waiting.get(port)
        if waiting and now.seconds < waiting.retry_at:
            self._waiting[port] = _Waiting(update, waiting.retry_at)
        else:
            self._verify_and_hear(peer, update, now)
        return True

    def handle_bootstrap(self, port: int, frame: BootstrapFrame, now: Now) -> BootstrapVerdict:
        """Take a bootstrap; whatever is wrong with it, the peering lives on."""
        verdict = self.snake.handle(frame, port, self.tree.root, self._budgets[port], now)
        if verdict is not BootstrapVerdict.STORED:
            self.dropped[verdict] += 1
        return verdict

    def handle_broadcast(self, port: int, frame: WakeupBroadcastFrame, now: Now) -> BroadcastVerdict:
        """Take a wakeup broadcast; whatever is wrong with it, the peering lives on."""
        verdict = self.broadcasts.handle(frame, port, self._budgets[port], now.seconds)
        if verdict is BroadcastVerdict.SEEN:
            self._events.append(NodeSeen(frame.source_key))
        else:
            self.dropped[verdict] += 1
        return verdict

    def _last_announced(self, peer: Peer) -> Announcement | None:
        """What the peer said last, even if that still waits: the rules are about what it sent."""
        if waiting := self._waiting.get(peer.port):
            return waiting.update
        return peer.heard.announcement if peer.heard else None

    def _verify_and_hear(self, peer: Peer, update: Announcement, now: Now) -> None:
        hops = self._announcements.unverified(update)
        cost = len(hops) + ANNOUNCEMENT_COST
        if wait := self._budgets[peer.port].spend(cost, now.seconds):
            self._waiting[peer.port] = _Waiting(update, now.seconds + wait)
            self.dropped["announcement_delayed"] += 1
            return
        self._waiting.pop(peer.port, None)
        self._announcements.verify(hops)
        self._hear(peer, update, now)

    def _hear(self, peer: Peer, update: Announcement, now: Now) -> None:
        known_node = any(p.heard and p.public_key == peer.public_key for p in self.peers.values())
        self._bootstrap_soon_if(self.tree.hear(peer, update, now.seconds))
        if not known_node:
            self.broadcasts.greet(peer, now)

    def _bootstrap_soon_if(self, parent_changed: bool) -> None:
        if parent_changed:
            self.snake.bootstrap_soon()

    # Timers

    def deadline(self) -> float:
        """When `handle_timer` is due next."""
        retries = (waiting.retry_at for waiting in self._waiting.values())
        return min(self._upkeep_at, self.tree.deadline(), self.broadcasts.due, *retries)

    def handle_timer(self, now: Now) -> list[tuple[int, PeerFaultError]]:
        """Do all that is due; the peerings that a delayed announcement ends, with why."""
        self._bootstrap_soon_if(self.tree.handle_timer(now.seconds))
        self.broadcasts.handle_timer(now)
        if now.seconds >= self._upkeep_at:
            self._upkeep_at = _next_round(self._upkeep_at, now.seconds)
            self.snake.upkeep(self.tree.root, is_root=self.tree.parent is None, now=now)
        return self._retry_waiting(now)

    def _retry_waiting(self, now: Now) -> list[tuple[int, PeerFaultError]]:
        faults: list[tuple[int, PeerFaultError]] = []
        for port in sorted(self._waiting):
            waiting = self._waiting[port]
            if now.seconds < waiting.retry_at:
                continue
            try:
                self._verify_and_hear(self.peers[port], waiting.update, now)
            except PeerFaultError as fault:
                faults.append((port, fault))
        return faults


def _next_round(due: float, now: float) -> float:
    """The next beat of the clock, without catching up on beats that were slept through."""
    following = due + UPKEEP_INTERVAL
    return following if following > now else now + UPKEEP_INTERVAL
