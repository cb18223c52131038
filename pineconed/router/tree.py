# SPDX-License-Identifier: Apache-2.0
"""The spanning tree: which root we follow, through which parent, and who is told (protocol section 4).

An announcement that passed `verification` comes in by `hear`; what the rules say of it is done
at once: announcements are queued to peers and the forwarding table is told of our root, our coords
and our parent.
"""

from pineconed.clock import NEVER
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.router.events import Event, ParentChanged, RootChanged
from pineconed.router.parent import (
    WORST_ORDER,
    Action,
    Candidate,
    announcement_action,
    compare_keys,
    is_better_parent,
)
from pineconed.router.peer import HeardAnnouncement, Peer, Peers, by_port
from pineconed.signing import Signer
from pineconed.wire.announcement import Announcement, Onward, sign_onward
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TreeAnnouncementFrame, encode_frame
from pineconed.wire.root import Root

ANNOUNCEMENT_INTERVAL = 30 * 60.0
"""Seconds between the announcements of a root."""

REPARENT_WAIT = 1.0
"""Seconds that a node which lost faith in its parent acts as a root before it selects another."""


class Tree:
    """The tree's state and rules. `sequence` is that of our own root; it never goes down."""

    def __init__(
        self,
        *,
        signer: Signer,
        peers: Peers,
        table: ForwardingTable,
        queues: Queues,
        events: list[Event],
        sequence: int,
    ) -> None:
        self.own_key = signer.public_key
        self.sequence = sequence
        self.parent: Peer | None = None
        self.waiting_until: float | None = None
        self.announce_at = NEVER
        self.announcements_sent = 0
        self._order = 0
        self._signer = signer
        self._peers = peers
        self._table = table
        self._queues = queues
        self._events = events
        self._told_root = Root(b"", 0)
        self._told_coords: Coords | None = None
        self._update_table()

    # What we follow

    @property
    def followed(self) -> Announcement:
        """The announcement we pass on: the parent's, or our own bare root."""
        if self.parent is not None and self.parent.heard is not None:
            return self.parent.heard.announcement
        return Announcement(Root(self.own_key, self.sequence), ())

    @property
    def root(self) -> Root:
        """The root that this node follows, itself if it has no parent."""
        return self.followed.root

    @property
    def coords(self) -> Coords:
        """Our place in the tree; empty for a root."""
        return self.followed.coords

    # Inputs; those that return a bool say whether a bootstrap should follow soon

    def start(self, now: float) -> None:
        """Announce ourselves for the first time and start the timer."""
        self._announce_own_root(now)

    def greet(self, peer: Peer) -> None:
        """Send a new peer our announcement."""
        self._send_to(peer, self._onward(self.followed))

    def hear(self, peer: Peer, update: Announcement, now: float) -> bool:
        """Store a peer's verified announcement and act on it."""
        followed = self.followed
        self._order += 1
        loop = update.has_loop(self.own_key)
        peer.heard = HeardAnnouncement(update, now, self._order, loop)
        self.tell_table_of(peer)
        if self.waiting_until is not None:
            return False
        action = announcement_action(
            from_parent=peer is self.parent,
            contains_loop=loop,
            root_key_delta=compare_keys(update.root.public_key, followed.root.public_key),
            new_sequence=update.root.sequence,
            last_sequence=followed.root.sequence,
        )
        if action is Action.DROP and peer is self.parent:
            # An older sequence of its root: only what we skipped for want of budget made it acceptable, and
            # that was another root, for which we would have left this parent.
            action = Action.BECOME_ROOT_AND_WAIT
        return self._act(action, peer, now)

    def forget(self, peer: Peer, now: float) -> bool:
        """Drop what a peer announced, because it is gone or no longer announces anything usable."""
        if peer.heard is None:
            return False
        was_parent = peer is self.parent
        peer.heard = None
        self.tell_table_of(peer)
        if not was_parent:
            return False
        return self._select_parent(Root(self.own_key, self.sequence), now)

    def reset(self, now: float) -> None:
        """Start afresh after the last peering is gone; our own sequence still goes up."""
        self.waiting_until = None
        self._announce_own_root(now)

    def deadline(self) -> float:
        """When `handle_timer` is due next, in seconds."""
        return self.announce_at if self.waiting_until is None else min(self.announce_at, self.waiting_until)

    def handle_timer(self, now: float) -> bool:
        """Do what is due: announce as a root, or end the wait and select a parent."""
        if now >= self.announce_at:
            self._repeat_announcement(now)
        if self.waiting_until is None or now < self.waiting_until:
            return False
        self.waiting_until = None
        return self._select_parent(self._strongest_known_root(), now)

    # The rules

    def _act(self, action: Action, peer: Peer, now: float) -> bool:
        match action:
            case Action.ACCEPT_UPDATE:
                self._update_table()
                self._announce_to_all()
            case Action.ACCEPT_NEW_PARENT:
                self._set_parent(peer)
                self._announce_to_all()
            case Action.SELECT_PARENT:
                return self._select_parent(self._strongest_known_root(), now)
            case Action.BECOME_ROOT_AND_WAIT:
                self.waiting_until = now + REPARENT_WAIT
                self._become_root(now)
            case Action.DROP | Action.INFORM_PEER:
                # A peer with a weaker root was told of ours when we last changed. To tell it again would
                # make a child leave for a second, and over slow links again and again.
                pass
        return False

    def _strongest_known_root(self) -> Root:
        followed = self.root
        return followed if followed.public_key >= self.own_key else Root(self.own_key, 0)

    def _select_parent(self, best_root: Root, now: float) -> bool:
        best: Peer | None = None
        best_order = WORST_ORDER
        for peer in by_port(self._peers):
            if peer.heard is None or not is_better_parent(
                self._candidate(peer.heard, now), best_root, best_order
            ):
                continue
            best, best_root, best_order = peer, peer.heard.root, peer.heard.order
        if best is None:
            self._become_root(now)
            return False
        if best is self.parent:
            return False
        self._set_parent(best)
        self._announce_to_all()
        return True

    def _candidate(self, heard: HeardAnnouncement, now: float) -> Candidate:
        return Candidate(heard.root, heard.order, now - heard.received_at, heard.contains_loop)

    def _become_root(self, now: float) -> None:
        if self.parent is not None:
            self._announce_own_root(now)

    def _set_parent(self, peer: Peer | None) -> None:
        if peer is not self.parent:
            key, port = (peer.public_key, peer.port) if peer else (None, None)
            self._events.append(ParentChanged(key, port))
        self.parent = peer
        self._update_table()

    # Sending

    def _repeat_announcement(self, now: float) -> None:
        if self.parent is None:
            self._announce_own_root(now)
        else:
            self.announce_at = now + ANNOUNCEMENT_INTERVAL

    def _announce_own_root(self, now: float) -> None:
        self.sequence += 1
        self.announce_at = now + ANNOUNCEMENT_INTERVAL
        self._set_parent(None)
        self._announce_to_all()

    def _announce_to_all(self) -> None:
        signed = self._onward(self.followed)
        for peer in by_port(self._peers):
            self._send_to(peer, signed)

    def _onward(self, announcement: Announcement) -> Onward:
        return sign_onward(announcement, self._signer)

    def _send_to(self, peer: Peer, signed: Onward) -> None:
        root, sent = signed.root, peer.root_sent
        if sent and sent.public_key == root.public_key and sent.sequence > root.sequence:
            self._excuse_lower_sequence(peer)
        self._queues[peer.port].push_announcement(self._frame(peer, signed))
        peer.root_sent = root

    def _excuse_lower_sequence(self, peer: Peer) -> None:
        """Put our own root between two announcements whose sequences would end the peering."""
        self.sequence += 1
        bare = self._onward(Announcement(Root(self.own_key, self.sequence), ()))
        self._queues[peer.port].push_announcement(self._frame(peer, bare))

    def _frame(self, peer: Peer, signed: Onward) -> bytes:
        self.announcements_sent += 1
        return encode_frame(TreeAnnouncementFrame(signed.payload(peer.port)))

    # The forwarding table

    def tell_table_of(self, peer: Peer) -> None:
        """Have next hops follow what is known of a peer now."""
        self._table.set_peer(peer.port, peer.public_key, peer.peer_type, peer.live, peer.for_table())
        self._table.set_parent(self._way_to_root())

    def _way_to_root(self) -> int | None:
        """The parent's port, or what stands in for it while it is not live (protocol section 6)."""
        parent = self.parent
        if parent is None or parent.live:
            return parent.port if parent else None
        return next(
            (peer.port for peer in by_port(self._peers) if self._stands_in(peer, parent)), parent.port
        )

    def _stands_in(self, peer: Peer, parent: Peer) -> bool:
        told = peer.heard if peer.live and peer.public_key == parent.public_key else None
        return told is not None and told.root == self.root

    def _update_table(self) -> None:
        root, coords = self.root, self.coords
        self._table.set_self(coords, root)
        self._table.set_parent(self._way_to_root())
        if (root, coords) != (self._told_root, self._told_coords):
            self._told_root, self._told_coords = root, coords
            self._events.append(RootChanged(root, coords))
