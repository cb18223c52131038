# SPDX-License-Identifier: Apache-2.0
"""The complete node without I/O: every byte that arrives goes in here, every byte to be sent comes out.

Inputs carry the moment at which they happen: `add_link`, `receive`, `remove_link`, `outbound`, `ping`
and `handle_timer`. After each of them poll the outputs, in this order:

1. `take_ready` names the links that have something to send; `take` hands over the buffers.
2. `take_local` hands over IPv6 packets for this host; they are valid until the next `receive`.
3. `events` tells what happened to the node, `session_events` to its sessions. `CloseLink` asks for a
   stream to be closed.
4. `deadline` says when `handle_timer` is due at the latest.

A link is one byte stream, named by a number that is never used again. It gets a port, and with it a
place in the tables, when its handshake is done.
"""

from collections.abc import Collection, Sequence
from typing import cast

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.dataplane.queues import PEERING_LIMIT, SLOW_PEERING_LIMIT, Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.node.link import Link, candidate
from pineconed.node.links import MIN_FRAMES_A_TURN, LinkTable
from pineconed.node.liveness import liveness
from pineconed.node.parts import Parts
from pineconed.node.protocol_frames import ProtocolFrames
from pineconed.node.snapshots import (
    NodeStatus,
    PeeringSnapshot,
    RouteSnapshot,
    node_status,
    peering_snapshot,
    route_snapshot,
)
from pineconed.overlay.address import address_of
from pineconed.overlay.endpoint import Endpoint
from pineconed.overlay.events import OverlayEvent
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.waiting import Outgoing
from pineconed.overlay.snapshots import SessionPage, SessionSnapshot
from pineconed.peering.admission import Admission, Objection
from pineconed.peering.peering import KEEPALIVE, Peering, PeeringTimeoutError
from pineconed.router.errors import PeerFaultError
from pineconed.router.events import CloseLink, Event, LinkDown, LinkUp
from pineconed.router.peer import LinkOptions, PeerType
from pineconed.router.ports import PortAllocator
from pineconed.router.router import Router
from pineconed.router.snapshots import SnakeSnapshot, TreeSnapshot, snake_snapshot, tree_snapshot
from pineconed.signing import Signer, Verifier
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.frame import FrameType
from pineconed.wire.keys import KEY_PREFIX_LENGTH

_QUEUE_LIMITS = {PeerType.BLUETOOTH: SLOW_PEERING_LIMIT}
"""Bytes of traffic that may wait for a peering, by its type, if not `PEERING_LIMIT`."""

_OWN_KEY = "the peer has this node's own key: it is this node, or another with a copy of the key file"


class Node:
    """One node of the network, named by the signer's key.

    `party` is its side of end-to-end sessions and has the same key; `flow_key` is a secret of 16 random bytes
    that keys the flow hash; `bare_ipv6` lists keys or addresses of nodes that are reached in the clear. Set
    `configured_peers` to the number of peers for which ports are to be kept.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        verifier: Verifier,
        party: Party,
        flow_key: bytes,
        now: Now,
        bare_ipv6: Collection[bytes] = (),
    ) -> None:
        self.public_key = signer.public_key
        self.address = address_of(signer.public_key)
        self.configured_peers = 0
        self._admission = Admission()
        self._signer = signer
        self._verifier = verifier
        self._events: list[Event] = []
        self._table = ForwardingTable(self.public_key)
        self._queues = Queues()
        self._forwarder = Forwarder(self._table, self._queues, self.public_key, flow_key=flow_key)
        self._endpoint = Endpoint(party, self._forwarder, flow_key, bare_ipv6)
        self._router = Router(
            signer=signer,
            verifier=verifier,
            table=self._table,
            queues=self._queues,
            events=self._events,
            now=now,
        )
        self._protocol_frames = ProtocolFrames(self._router, self._events)
        self._ports = PortAllocator()
        self._parts = Parts(now.seconds, self._table, self._queues, self._endpoint, self._router, self._ports)
        self._place = self._table.root.public_key, self._table.encoded_coords
        self._links = LinkTable()

    # Inputs

    def start(self, now: Now) -> None:
        """Begin as the root of a tree of one."""
        self._router.start(now)

    def add_link(self, options: LinkOptions, now: Now) -> int:
        """A byte stream was opened; its number. Our handshake is ready to be taken at once."""
        return self._links.open(options, Peering.greeting(self._signer), now.seconds).number

    def receive(self, number: int, view: memoryview, now: Now) -> int:
        """Bytes came by a link; how many of them were used.

        Fewer than given means that this turn's share of frames is used up: hand in the rest next
        turn, before anything newer. A link that the node has ended swallows everything.
        """
        link = self._links.by_number.get(number)
        if link is None:
            return len(view)
        try:
            consumed = self._receive(link, view, now)
        except PeerFaultError as fault:
            self._close(link, str(fault), now, remote_fault=True)
            return len(view)
        except CodecError as error:
            reason = f"malformed data: {error}" if link.port else f"handshake refused: {error}"
            self._close(link, reason, now, remote_fault=True)
            return len(view)
        link.rx_bytes += consumed
        return consumed

    def remove_link(self, number: int, reason: str, now: Now) -> None:
        """A stream has ended or failed."""
        if link := self._links.by_number.get(number):
            self._drop(link, reason, now)
            self._note_place(now)

    def admit_by(self, admission: Admission, now: Now) -> None:
        """Peer by these rules from now on, and close the peerings that they do not admit."""
        self._admission = admission
        for link in list(self._links.by_port.values()):
            key = cast("bytes", link.peering.public_key)
            if reason := admission.unwelcome(candidate(key, link.options)):
                self._close(link, reason, now, remote_fault=False)
        self._note_place(now)

    def objection(self, public_key: bytes, options: LinkOptions) -> Objection | None:
        """Why the node with this key may not become a peer by such a link now; None if it may."""
        return self._admission.objection(candidate(public_key, options), len(self._links.by_port))

    def prefix_objection(self, prefix: bytes) -> str | None:
        """Why a node that nobody named and whose key begins so may not become a peer; None if it may."""
        return self._admission.unwelcome_prefix(prefix)

    def outbound(self, packets: Sequence[Outgoing], now: Now) -> None:
        """Packets from this host, in order."""
        self._endpoint.outbound(packets, now)

    def ping(self, public_key: bytes, data: bytes, now: Now) -> SendResult | None:
        """Ask another node for `data` back; `EchoAnswered` of `session_events` tells when it comes.

        Of the key only the first 15 bytes count. None without a session, which is then dialled.
        """
        return self._endpoint.sessions.ping(public_key[:KEY_PREFIX_LENGTH], data, now.seconds)

    def close_sessions(self, now: Now) -> None:
        """Tell the peers that this node ends."""
        self._endpoint.sessions.close(now.seconds)

    def handle_timer(self, now: Now) -> None:
        """Do all that is due."""
        for link in self._links.due(now.seconds):
            self._check(link, now)
        if now.seconds >= self._router.deadline():
            for port, live in liveness(self._links.by_port, self._router.peers, now.seconds):
                self._router.set_live(port, live)
            for port, fault in self._router.handle_timer(now):
                self._close(self._links.by_port[port], str(fault), now, remote_fault=True)
            self._protocol_frames.note_announcements(self._links.by_port.values())
        if now.seconds >= self._endpoint.deadline():
            self._endpoint.handle_timer(now)
        self._note_place(now)

    # Outputs

    def take_ready(self) -> list[int]:
        """The links that have something to send, handshakes first, then by port."""
        return [*self._links.greetings, *(self._links.by_port[port].number for port in self._queues.ready())]

    def take(self, number: int, budget: int, now: Now) -> list[Buffer]:
        """Buffers for one write to this link: at most `budget` bytes, or a single frame that is longer."""
        link = self._links.by_number.get(number)
        if link is None:
            return []
        buffers = self._take(link, budget)
        if buffers:
            link.peering.last_sent = now.seconds
            link.tx_bytes += sum(map(len, buffers))
        return buffers

    def _take(self, link: Link, budget: int) -> list[Buffer]:
        if self._links.greetings.pop(link.number, None):
            return [link.greeting]
        return [] if link.port is None else self._queues[link.port].take(budget)

    def take_local(self) -> list[Delivery]:
        """Packets for this host, valid until the next `receive`; only such as the party's features allow."""
        return self._endpoint.take_local()

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events = self._events[:]
        self._events.clear()
        return events

    def session_events(self) -> list[OverlayEvent]:
        """What happened to the sessions since the last call, in order; 1,024 are kept."""
        return self._endpoint.events()

    def deadline(self) -> float:
        """When `handle_timer` is due at the latest, in seconds."""
        return min(self._router.deadline(), self._endpoint.deadline(), self._links.deadline())

    # Receiving

    def _receive(self, link: Link, view: memoryview, now: Now) -> int:
        greeted, port = 0, link.port
        if port is None:
            greeted = link.peering.read_handshake(view, self._verifier, now.seconds)
            if link.peering.public_key is None:
                return greeted
            port = self._establish(link, link.peering.public_key, now)
            if port is None:
                return len(view)
        return greeted + self._receive_frames(link, port, view[greeted:], now)

    def _receive_frames(self, link: Link, port: int, view: memoryview, now: Now) -> int:
        """Per-packet path: traffic goes straight to the forwarder, all else to the router."""
        seconds = now.seconds
        forward = self._forwarder.forward
        frames, consumed = link.peering.split(view, self._links.frames_a_turn, seconds)
        count = len(frames)
        link.rx_frames += count
        if (count > MIN_FRAMES_A_TURN or consumed < len(view)) is not link.busy:
            self._links.note_busy(link, busy=not link.busy)
        try:
            for frame in frames:
                if frame[5] == FrameType.TRAFFIC:
                    forward(frame, port, seconds)
                else:
                    self._protocol_frames.receive(link, port, frame, now)
        finally:
            self._note_place(now)
            self._deliver(now)
        return consumed

    def _deliver(self, now: Now) -> None:
        deliver = self._endpoint.inbound
        for source_key, coords, payload, _extra, from_port in self._forwarder.take_local():
            deliver(source_key, coords, payload, from_port, now)

    def _note_place(self, now: Now) -> None:
        """Let the sessions know when our place in the tree is another one."""
        place = self._table.root.public_key, self._table.encoded_coords
        if place == self._place:
            return
        before, self._place = self._place, place
        if place[0] != before[0]:
            self._endpoint.sessions.forget_coords()
        if place[1] != before[1]:
            self._endpoint.sessions.tell_move(now.seconds)

    # Links

    def _establish(self, link: Link, public_key: bytes, now: Now) -> int | None:
        """Give the link a port and greet the peer; None where the link was closed instead."""
        if public_key == self.public_key:
            self._close(link, _OWN_KEY, now, remote_fault=True)
            return None
        if objection := self.objection(public_key, link.options):
            self._close(link, objection.text, now, remote_fault=not objection.full)
            return None
        port = self._ports.allocate(link.options.configured, self.configured_peers)
        if port is None:
            self._close(link, "no free port: too many peerings", now, remote_fault=False)
            return None
        link.port = port
        self._links.by_port[port] = link
        self._queues.add(port, _QUEUE_LIMITS.get(link.options.peer_type, PEERING_LIMIT))
        self._events.append(LinkUp(link.number, port, public_key))
        self._router.add_peer(port, public_key, link.options.peer_type, now)
        self._links.arm(link)
        return port

    def _close(self, link: Link, reason: str, now: Now, *, remote_fault: bool) -> None:
        self._events.append(CloseLink(link.number, reason, remote_fault))
        self._drop(link, reason, now)

    def _drop(self, link: Link, reason: str, now: Now) -> None:
        self._links.remove(link)
        if link.port is not None:
            self._router.remove_peer(link.port, now)
            self._queues.remove(link.port)
            self._ports.release(link.port)
        self._events.append(LinkDown(link.number, link.port, link.peering.public_key, reason))

    # Timers

    def _check(self, link: Link, now: Now) -> None:
        """A link's timer fired: the stamps say whether anything is due; then arm it again."""
        try:
            keepalive_due = link.peering.check(now.seconds)
        except PeeringTimeoutError as timeout:
            self._close(link, timeout.reason, now, remote_fault=timeout.remote_fault)
            return
        if keepalive_due and link.port is not None:
            self._keep_alive(link, link.port, now)
        self._links.arm(link)

    def _keep_alive(self, link: Link, port: int, now: Now) -> None:
        """Queue a keepalive, unless the link is stalled and something else will go out first anyway."""
        link.peering.last_sent = now.seconds
        self._queues[port].push_keepalive(KEEPALIVE)

    # Snapshots for the admin API

    def status(self, now: Now) -> NodeStatus:
        """The node as a whole."""
        return node_status(self._parts, now.seconds)

    def peerings(self, now: Now) -> list[PeeringSnapshot]:
        """Every link, in the order in which they came."""
        return [peering_snapshot(self._parts, link, now.seconds) for link in self._links.by_number.values()]

    def sessions(self, now: Now, after: bytes | None, limit: int) -> SessionPage:
        """A page of the nodes that packets are exchanged with, or that are being dialled.

        At most `limit` rows whose addresses follow `after`.
        """
        return self._endpoint.session_page(now, after, limit)

    def session(self, public_key: bytes, now: Now) -> SessionSnapshot | None:
        """One of them, None if it is not there. Of the key only the first 15 bytes count."""
        return self._endpoint.session(public_key[:KEY_PREFIX_LENGTH], now)

    def tree(self, now: Now) -> TreeSnapshot:
        """Our place in the spanning tree and what each peer announced."""
        return tree_snapshot(self._router, now.seconds)

    def snake(self, now: Now, after: bytes | None, limit: int) -> SnakeSnapshot:
        """A page of the snake table: at most `limit` rows whose keys follow `after`."""
        return snake_snapshot(self._router, now.seconds, after, limit)

    def route(self, destination_key: bytes, now: Now) -> RouteSnapshot:
        """Where a traffic frame of ours for this key would leave, and why."""
        return route_snapshot(self._parts, destination_key, now.seconds)
