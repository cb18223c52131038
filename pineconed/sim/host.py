# SPDX-License-Identifier: Apache-2.0
"""A simulated host: one real node and what the daemon's driver does for it, on the virtual clock.

The flow: something happens (bytes, a timer, a packet to send) and is handed to the node; then one `_turn`
sends what the node has ready, gives out local packets, acts on events and re-arms the timer.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import Protocol, cast

from pineconed.clock import Now
from pineconed.node import Node
from pineconed.overlay.session.party import Party
from pineconed.router.events import CloseLink, Event, LinkAnnounced, ParentChanged, RootChanged
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.signing import Signer, Verifier
from pineconed.sim.clock import Alarm, SimulationError, VirtualClock
from pineconed.sim.link import StreamEnd
from pineconed.sim.tap import FrameTap
from pineconed.wire.buffer import Buffer
from pineconed.wire.root import Root

UNIX_EPOCH_MS = 1_800_000_000_000
"""Unix time of virtual second zero, in milliseconds."""

PULL_BYTES = 16 * 1024
"""What the host takes from the node for one write, in bytes, as the daemon does."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a simulated node is: its number in the network, its signer and how it checks others.

    `party` makes its side of sessions out of a source of randomness. `bare` lists the keys of those that it
    reaches without.
    """

    number: int
    signer: Signer
    verifier: Verifier
    party: Callable[[Signer, Random], Party]
    bare: Collection[bytes]


class Observer(Protocol):
    """What a host tells the network about."""

    def bytes_sent(self, end: StreamEnd, frames: list[tuple[int, bytes]]) -> None:
        """Frames leave by a stream."""
        ...

    def packet_arrived(self, host: int, packet: bytes) -> None:
        """The endpoint gave out an IPv6 packet."""
        ...

    def happened(self, host: int, event: Event) -> None:
        """The node reported something."""
        ...


class Host:
    """One node with its simulated sockets.

    `root` and `parent` follow the node's events. `clock_skew_ms` may be changed at any time to make the
    host's Unix clock wrong.
    """

    def __init__(self, clock: VirtualClock, identity: Identity, observer: Observer, rng: Random) -> None:
        self.number = identity.number
        self.public_key = identity.signer.public_key
        self.clock_skew_ms = 0
        self.alive = False
        self.ends: dict[int, StreamEnd] = {}
        self.node: Node
        self.root: Root
        self.parent: bytes | None = None
        self._identity = identity
        self._clock = clock
        self._observer = observer
        self._rng = rng
        self._links: dict[StreamEnd, int] = {}
        self._taps: dict[int, FrameTap] = {}
        self._alarm: Alarm | None = None

    def now(self) -> Now:
        """This moment as the host's clocks show it."""
        seconds = self._clock.now
        return Now(seconds, UNIX_EPOCH_MS + int(seconds * 1000) + self.clock_skew_ms)

    def start(self) -> None:
        """Start a fresh node with this host's identity."""
        identity = self._identity
        self.alive = True
        self.parent = None
        flow_key = self._rng.randbytes(16)
        self.node = Node(
            signer=identity.signer,
            verifier=identity.verifier,
            party=identity.party(identity.signer, self._rng),
            flow_key=flow_key,
            now=self.now(),
            bare_ipv6=identity.bare,
        )
        self.root = self.node.status(self.now()).root
        self.node.start(self.now())
        self._turn()

    def stop(self) -> None:
        """The process ends: its sockets close, and the node is gone without a word."""
        self.alive = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        ends = list(self.ends.values())
        self.ends.clear()
        self._links.clear()
        self._taps.clear()
        for end in ends:
            end.close()

    def send_packet(self, packet: bytes) -> None:
        """Hand an IPv6 packet to the endpoint, as the TUN device does."""
        self.node.outbound([packet], self.now())
        self._turn()

    def stream_opened(self, end: StreamEnd) -> None:
        """A connection is there: give it to the node."""
        if not self.alive:
            end.close()
            return
        zone, direction = ("static", Direction.OUTBOUND) if end.dialed else ("", Direction.INBOUND)
        uri = f"tcp://link-{end.link.number}:1"
        options = LinkOptions(PeerType.REMOTE, zone, uri, direction, configured=end.dialed)
        number = self.node.add_link(options, self.now())
        self.ends[number] = end
        self._links[end] = number
        self._taps[number] = FrameTap()
        self._turn()

    def stream_received(self, end: StreamEnd, data: bytes) -> None:
        """Bytes arrived: the node gets them, over several turns if it wants that."""
        view = memoryview(data)
        number = self._links[end]
        while view and number in self.ends:
            consumed = self.node.receive(number, view, self.now())
            self._turn()
            if not consumed and number in self.ends:
                raise SimulationError(f"host {self.number} consumes nothing of {len(view)} bytes")
            view = view[consumed:]

    def stream_writable(self, end: StreamEnd) -> None:
        """The socket has room again."""
        self._pump(self._links[end], end)

    def stream_failed(self, end: StreamEnd, reason: str) -> None:
        """The stream is gone without our doing."""
        number = self._forget(end)
        self.node.remove_link(number, reason, self.now())
        self._turn()

    def _turn(self) -> None:
        node = self.node
        for number in node.take_ready():
            self._pump(number, self.ends[number])
        for packet in cast("list[Buffer]", node.take_local()):  # the party offers no features
            self._observer.packet_arrived(self.number, bytes(packet))
        for event in node.events():
            self._handle_event(event)
        self._arm()

    def _pump(self, number: int, end: StreamEnd) -> None:
        while end.outgoing.writable():
            data = b"".join(self.node.take(number, PULL_BYTES, self.now()))
            if not data:
                break
            self._observer.bytes_sent(end, self._taps[number].frames(data))
            end.outgoing.send(data)

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, RootChanged):
            self.root = event.root
        elif isinstance(event, ParentChanged):
            self.parent = event.public_key
        self._observer.happened(self.number, event)
        if isinstance(event, CloseLink):
            end = self.ends[event.link]
            self._forget(end)
            end.close()
        elif isinstance(event, LinkAnnounced) and event.link in self.ends:
            end = self.ends[event.link]
            if end.dialed:
                end.link.announced()

    def _forget(self, end: StreamEnd) -> int:
        number = self._links.pop(end)
        del self.ends[number], self._taps[number]
        return number

    def _arm(self) -> None:
        """Have an alarm no later than the node's deadline; one that rings early looks again."""
        if not self.alive:
            return
        deadline = self.node.deadline()
        if self._alarm is not None:
            if self._alarm.when <= deadline:
                return
            self._alarm.cancel()
        self._alarm = self._clock.at(deadline, self._rang)

    def _rang(self) -> None:
        self._alarm = None
        if self.node.deadline() <= self._clock.now:
            self.node.handle_timer(self.now())
            self._turn()
        else:
            self._arm()
