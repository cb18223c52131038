# SPDX-License-Identifier: Apache-2.0
"""Nodes back to back: streams are handed over at once, time is what the test says."""

from collections import deque
from collections.abc import Collection
from random import Random
from typing import cast

from pineconed.clock import Now
from pineconed.node import Node
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Party
from pineconed.peering.peering import Peering
from pineconed.router.events import CloseLink, Event, LinkDown, PeerMisbehaved
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.signing import Ed25519Signer, Signer, verify_ed25519
from pineconed.wire.announcement import Announcement, append_hop, encode_announcement
from pineconed.wire.buffer import Buffer
from pineconed.wire.frame import Frame, TreeAnnouncementFrame, encode_frame
from pineconed.wire.framer import Framer
from pineconed.wire.root import Root

SEEDS = {Ed25519Signer(seed).public_key: seed for seed in (bytes([n]) * 32 for n in range(1, 6))}
SIGNERS = [Ed25519Signer(SEEDS[key]) for key in sorted(SEEDS)]
INBOUND = LinkOptions(PeerType.REMOTE, "", "tcp://[::1]:9", Direction.INBOUND)
CONFIGURED = LinkOptions(PeerType.REMOTE, "static", "tcp://[::1]:9", Direction.OUTBOUND, configured=True)


class Rig:
    """Real nodes, joined by streams that never fail and take no time."""

    def __init__(self, *signers: Signer, seconds: float = 1000.0, bare_ipv6: Collection[bytes] = ()) -> None:
        self.seconds = seconds
        rng = Random(5)
        self.nodes = [
            Node(
                signer=signer,
                verifier=verify_ed25519,
                party=Party(Ed25519Identity(SEEDS[signer.public_key]), rng.randbytes),
                flow_key=bytes(16),
                now=self.now,
                bare_ipv6=bare_ipv6,
            )
            for signer in signers
        ]
        self.local: list[list[bytes]] = [[] for _ in signers]
        self.log: list[list[Event]] = [[] for _ in signers]
        self._streams: dict[tuple[int, int], tuple[int, int]] = {}
        for node in self.nodes:
            node.start(self.now)

    @property
    def now(self) -> Now:
        return Now(self.seconds, 1_700_000_000_000 + round(self.seconds * 1000))

    def join(self, a: int, b: int) -> tuple[int, int]:
        """Connect two nodes; the link numbers at each."""
        link_a = self.nodes[a].add_link(CONFIGURED, self.now)
        link_b = self.nodes[b].add_link(INBOUND, self.now)
        self._streams[a, link_a] = b, link_b
        self._streams[b, link_b] = a, link_a
        self.settle()
        return link_a, link_b

    def settle(self) -> None:
        """Carry bytes until nobody has anything to say."""
        busy = True
        while busy:
            busy = False
            for index, node in enumerate(self.nodes):
                for link in node.take_ready():
                    if end := self._streams.get((index, link)):
                        self._carry(end, b"".join(node.take(link, 1 << 20, self.now)))
                        busy = True
                self._collect(index)

    def _carry(self, end: tuple[int, int], data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.nodes[end[0]].receive(end[1], rest, self.now) :]
            self._collect(end[0])

    def _collect(self, index: int) -> None:
        self.local[index] += map(bytes, cast("list[Buffer]", self.nodes[index].take_local()))
        for event in self.nodes[index].events():
            self.log[index].append(event)
            if isinstance(event, CloseLink):
                self._cut(index, event.link)

    def _cut(self, index: int, link: int) -> None:
        if far := self._streams.pop((index, link), None):
            self._streams.pop(far, None)
            self.nodes[far[0]].remove_link(far[1], "end of stream", self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, firing every timer at its exact time."""
        until = self.seconds + seconds
        while (due := min(node.deadline() for node in self.nodes)) <= until:
            self.seconds = max(due, self.seconds)
            for node in self.nodes:
                if node.deadline() <= self.seconds:
                    node.handle_timer(self.now)
            self.settle()
        self.seconds = until


class Stranger:
    """A hand-made peer of one node: it says what the test wants."""

    def __init__(self, rig: Rig, signer: Signer, options: LinkOptions = INBOUND, node: int = 0) -> None:
        self.rig, self.signer, self.index = rig, signer, node
        self.node = rig.nodes[node]
        self.link = self.node.add_link(options, rig.now)
        self._framer = Framer()
        self.frames: deque[bytes] = deque()
        self.greeting = b""

    def say(self, data: bytes) -> int:
        """Send bytes; how many the node used."""
        used = self.node.receive(self.link, memoryview(data), self.rig.now)
        self.rig._collect(self.index)
        return used

    def shake_hands(self) -> None:
        self.say(Peering.greeting(self.signer))

    def announce(self, sequence: int = 1, port: int = 1) -> None:
        """Announce ourselves as a root."""
        update = append_hop(Announcement(Root(self.signer.public_key, sequence), ()), port, self.signer)
        self.send(TreeAnnouncementFrame(encode_announcement(update)))

    def send(self, frame: Frame) -> None:
        self.say(encode_frame(frame))

    def hear(self) -> list[bytes]:
        """Whole frames that the node sent; its handshake is kept apart."""
        data = b"".join(self.node.take(self.link, 1 << 20, self.rig.now))
        if not self.greeting:
            self.greeting = data
            data = b"".join(self.node.take(self.link, 1 << 20, self.rig.now))
        return [bytes(frame) for frame in self._framer.split(memoryview(data))[0]]

    @property
    def closed_because(self) -> str | None:
        return next(
            (e.reason for e in self.rig.log[self.index] if isinstance(e, CloseLink) and e.link == self.link),
            None,
        )

    @property
    def down(self) -> list[LinkDown]:
        return [e for e in self.rig.log[self.index] if isinstance(e, LinkDown) and e.link == self.link]

    @property
    def complaints(self) -> list[str]:
        return [
            e.cause for e in self.rig.log[self.index] if isinstance(e, PeerMisbehaved) and e.link == self.link
        ]


def ipv6_packet(source: bytes, destination: bytes, payload: bytes = b"") -> bytes:
    """A packet of no next header between two 16-byte addresses."""
    return b"`\0\0\0" + len(payload).to_bytes(2) + bytes([59, 64]) + source + destination + payload
