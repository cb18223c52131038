# SPDX-License-Identifier: Apache-2.0
"""Two endpoints over real forwarders, a wire between them that a test can meddle with, and virtual time."""

import heapq
from collections.abc import Callable, Collection, Iterable
from itertools import count
from random import Random
from typing import Any, TypeAlias

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable, PeerAnnouncement
from pineconed.overlay.address import address_of
from pineconed.overlay.endpoint import Endpoint
from pineconed.overlay.events import OverlayEvent
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Offer, Party, Timing
from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.session import Session
from pineconed.overlay.snapshots import SessionSnapshot
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, decode_frame
from pineconed.wire.root import Root
from tests.unit.overlay.packets import ipv6, ports

PORT = 1
ROOT = Root(b"\xff" * 32, 1)
INIT, RESPONSE, CONFIRM, DATA, UNKNOWN = 1, 2, 3, 4, 5
LATENCY = 0.05
BEGIN = 1000.0

Deliveries: TypeAlias = Iterable[tuple[float, bytes]]
Wire: TypeAlias = Callable[["Side", bytes], Deliveries]
"""What becomes of a frame that a side sends: frames, each with the seconds until it arrives at the other."""


class Side:
    """One of the two nodes. `inbox` is what its TUN device got."""

    def __init__(self, name: str, seed: int, coords: Coords, rng: Random, **options: Any) -> None:
        self.name = name
        self.identity = Ed25519Identity(bytes([seed]) * 32)
        self.key = self.identity.public_key
        self.address = address_of(self.key)
        self.coords = coords
        self.rng = rng
        self.options = options
        self.inbox: list[Delivery] = []
        self.arrived_at: list[float] = []
        self.events: list[OverlayEvent] = []
        self.peer: Side
        self.peer_type = 3
        self.start()

    def start(self) -> None:
        """A process without a memory."""
        options = dict(self.options)
        bare: Collection[bytes] = options.pop("bare_ipv6", ())
        timing = options.pop("timing", Timing())
        self.table = ForwardingTable(self.key)
        self.queues = Queues()
        self.queues.add(PORT)
        self.forwarder = Forwarder(self.table, self.queues, self.key)
        party = Party(self.identity, self.rng.randbytes, Offer(**options), timing)
        self.endpoint = Endpoint(party, self.forwarder, b"secret", bare)

    def connect(self) -> None:
        """Tell the forwarder where both sides are."""
        self.table.set_self(self.coords, ROOT)
        signers = (ROOT.public_key, self.peer.key)
        announcement = PeerAnnouncement(ROOT, self.peer.coords, signers, 1)
        self.table.set_peer(PORT, self.peer.key, self.peer_type, True, announcement)
        self.table.set_parent(PORT)

    @property
    def session(self) -> Session:
        """The session that this side sends on."""
        return self.endpoint.sessions.newest[self.peer.key[:15]]

    @property
    def drops(self) -> dict[str, int]:
        """What was dropped, causes that happened."""
        return {cause: number for cause, number in self.endpoint.drops().items() if number}

    @property
    def packets(self) -> list[bytes]:
        """The inbox without ICMPv6 errors."""
        return [
            bytes(packet)
            for packet in self.inbox
            if isinstance(packet, bytes | memoryview) and packet[6] != 58
        ]

    @property
    def errors(self) -> list[tuple[int, int]]:
        """Type and code of the ICMPv6 errors in the inbox."""
        return [
            (packet[40], packet[41])
            for packet in self.inbox
            if isinstance(packet, bytes | memoryview) and packet[6] == 58
        ]

    def packet(self, number: int = 0, size: int = 0, port: int = 1000) -> bytes:
        """A UDP packet for the other side; `number` tells it from others."""
        return ipv6(self.address, self.peer.address, ports(port, 9, number.to_bytes(4) + bytes(size)))


def prompt(_: Side, frame: bytes) -> Deliveries:
    """A wire that only takes its time."""
    return [(LATENCY, frame)]


def lost(_: Side, frame: bytes) -> Deliveries:
    """A wire that is cut."""
    return []


class Losing:
    """A wire that loses the frames of given numbers, in the order in which they are sent."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = set(numbers)
        self.count = -1

    def __call__(self, side: Side, frame: bytes) -> Deliveries:
        self.count += 1
        return [] if self.count in self.numbers else prompt(side, frame)


class Bad:
    """A wire that loses, delays and doubles frames at random."""

    def __init__(self, rng: Random, loss: float, spread: float, doubled: float) -> None:
        self.rng, self.loss, self.spread, self.doubled = rng, loss, spread, doubled

    def __call__(self, side: Side, frame: bytes) -> Deliveries:
        copies = 2 if self.rng.random() < self.doubled else 1
        return [
            (LATENCY + self.rng.random() * self.spread, frame)
            for _ in range(copies)
            if self.rng.random() >= self.loss
        ]


class Conversation:
    """Sides a and b. `frames` is all that was sent: when, by which side, the frame."""

    def __init__(
        self, seed: int = 1, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None
    ) -> None:
        self.now = BEGIN
        self.rng = Random(seed)
        self.wire: Wire = prompt
        self.frames: list[tuple[float, Side, bytes]] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self.a = Side("a", 1, (1,), self.rng, **(a or {}))
        self.b = Side("b", 2, (2,), self.rng, **(b or {}))
        self.a.peer, self.b.peer = self.b, self.a
        self.a.connect()
        self.b.connect()

    @property
    def moment(self) -> Now:
        return Now(self.now, 1_700_000_000_000 + int(self.now * 1000))

    # What a test does

    def send(self, side: Side, *packets: Any) -> None:
        """The TUN device of a side gives these packets at once."""
        side.endpoint.outbound(packets, self.moment)
        self._after(side)

    def ping(self, side: Side, data: bytes) -> SendResult | None:
        """The operator of a side asks for an echo."""
        result = side.endpoint.sessions.ping(side.peer.key[:15], data, self.now)
        self._after(side)
        return result

    def inject(self, to: Side, frame: bytes, delay: float = 0.0) -> None:
        """A frame arrives at a side."""
        self.at(self.now + delay, lambda: self._arrive(to, frame))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time to come."""
        heapq.heappush(self._due, (when, next(self._serial), what))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            when = min(side.endpoint.deadline() for side in (self.a, self.b))
            if self._due and self._due[0][0] <= min(when, end):
                self.now, _, what = heapq.heappop(self._due)
                what()
            elif when <= end:
                self.now = max(self.now, when)
                for side in (self.a, self.b):
                    if side.endpoint.deadline() <= self.now:
                        side.endpoint.handle_timer(self.moment)
                        self._after(side)
            else:
                break
        self.now = end

    def establish(self) -> None:
        """Have a session by a packet from a to b and its answer, and forget that they were.

        It takes five seconds: then b, which sent last, has asked for an echo.
        """
        self.send(self.a, self.a.packet())
        self.run(0.5)
        self.send(self.b, self.b.packet())
        self.run(4.5)
        assert len(self.a.packets) == len(self.b.packets) == 1
        for side in (self.a, self.b):
            side.inbox.clear()
            side.arrived_at.clear()
        self.frames.clear()

    def restart(self, side: Side) -> None:
        """A side's process is killed and started again."""
        side.start()
        side.connect()

    def move(self, side: Side, coords: Coords) -> None:
        """A side gets another place in the tree, and both know."""
        side.coords = coords
        self.a.connect()
        self.b.connect()
        side.endpoint.sessions.tell_move(self.now)
        self._after(side)

    def messages(self, side: Side) -> list[tuple[float, int]]:
        """When a side sent which type of message."""
        return [(when, frame.payload[0]) for when, sender, frame in self.traffic() if sender is side]

    def traffic(self) -> list[tuple[float, Side, TrafficFrame]]:
        """Everything that was sent, decoded."""
        return [(when, side, decoded(frame)) for when, side, frame in self.frames]

    def pictures(self, side: Side) -> list[SessionSnapshot]:
        """What the operator of a side sees."""
        return side.endpoint.session_page(self.moment, None, 1000).sessions

    # What then happens

    def _after(self, side: Side) -> None:
        local = side.endpoint.take_local()
        side.inbox += [packet if isinstance(packet, tuple) else bytes(packet) for packet in local]
        side.arrived_at += [self.now] * len(local)
        side.events += side.endpoint.events()
        for frame in split_frames(b"".join(side.queues[PORT].take(1 << 24))):
            self.frames.append((self.now, side, frame))
            for delay, arriving in self.wire(side, frame):
                self.inject(side.peer, arriving, delay)

    def _arrive(self, side: Side, frame: bytes) -> None:
        side.forwarder.forward(memoryview(frame), PORT, self.now)
        for source_key, coords, payload, _, port in side.forwarder.take_local():
            side.endpoint.inbound(source_key, coords, payload, port, self.moment)
        self._after(side)


def one_more(talk: Conversation, side: Side, number: int) -> Session:
    """One more peer of a side that has a session; the handshake is always the same."""
    sessions = side.endpoint.sessions
    real = next(iter(sessions.newest.values()))
    session = object.__new__(Session)
    for name in Session.__slots__:
        setattr(session, name, getattr(real, name))
    session.peer_key = number.to_bytes(4) + bytes(28)
    session.prefix = session.peer_key[:15]
    session.index = sessions.context.indices.draw()
    session.tally = type(real.tally)(talk.now)
    session.is_newest = session.carried_packets = False
    session.timer_at = float("inf")
    session.answer = None
    sessions._lifecycle.adopt(session, talk.now, None)
    return session


def kinds(talk: Conversation, side: Side) -> list[int]:
    """The types of the messages that a side sent."""
    return [kind for _, kind in talk.messages(side)]


def times(talk: Conversation, side: Side, kind: int) -> list[float]:
    """When a side sent messages of a type, in seconds since the beginning."""
    return [round(when - BEGIN, 6) for when, sent in talk.messages(side) if sent == kind]


def split_frames(data: bytes) -> list[bytes]:
    """The frames of a stream."""
    frames = []
    while data:
        length = int.from_bytes(data[8:10])
        frames.append(data[:length])
        data = data[length:]
    return frames


def decoded(frame: bytes) -> TrafficFrame:
    """A traffic frame."""
    value = decode_frame(frame)
    assert isinstance(value, TrafficFrame)
    return value
