# SPDX-License-Identifier: Apache-2.0
"""A router on a desk: peers that say what the test wants, and what it answers, without any transport."""

from dataclasses import dataclass, field

from pineconed.clock import Now
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.router.events import Event
from pineconed.router.peer import PeerType
from pineconed.router.router import Router
from pineconed.signing import Ed25519Signer, Signer, verify_ed25519
from pineconed.wire.announcement import Announcement, append_hop, decode_announcement, encode_announcement
from pineconed.wire.frame import (
    BootstrapFrame,
    Frame,
    TreeAnnouncementFrame,
    WakeupBroadcastFrame,
    decode_frame,
)
from pineconed.wire.framer import Framer
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import encode_payload, sign_payload
from pineconed.wire.watermark import FULL, Watermark

SIGNERS = sorted((Ed25519Signer(bytes([n]) * 32) for n in range(1, 12)), key=lambda s: s.public_key)
"""Eleven nodes in the order of their keys, the weakest first."""

WEAKEST, OWN, STRONGEST = SIGNERS[0], SIGNERS[5], SIGNERS[-1]
START_MS = 1_700_000_000_000


def announcement(*signers: Signer, sequence: int = 1, ports: tuple[int, ...] = ()) -> Announcement:
    """An announcement of the first signer's root that came through all of them, down to us."""
    update = Announcement(Root(signers[0].public_key, sequence), ())
    for index, signer in enumerate(signers):
        update = append_hop(update, ports[index] if ports else index + 1, signer)
    return update


def bootstrap(
    signer: Signer, root: Root, sequence: int = 1, watermark: Watermark = FULL, trailer: bytes = b""
) -> BootstrapFrame:
    payload = encode_payload(sign_payload(sequence, root, signer)) + trailer
    return BootstrapFrame(signer.public_key, watermark, payload)


def broadcast(signer: Signer, root: Root, sequence: int = 1, hop_limit: int = 5) -> WakeupBroadcastFrame:
    payload = encode_payload(sign_payload(sequence, root, signer))
    return WakeupBroadcastFrame(signer.public_key, payload, hop_limit=hop_limit)


@dataclass
class Desk:
    """The router under test, its clock and its peers' ears."""

    signer: Signer = OWN
    seconds: float = 1000.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = ForwardingTable(self.signer.public_key)
        self.queues = Queues()
        self.router = Router(
            signer=self.signer,
            verifier=verify_ed25519,
            table=self.table,
            queues=self.queues,
            events=self.events,
            now=self.now,
        )
        self.router.start(self.now)

    @property
    def now(self) -> Now:
        return Now(self.seconds, START_MS + round((self.seconds - 1000) * 1000))

    @property
    def root(self) -> Root:
        return self.router.tree.root

    def add(self, port: int, signer: Signer, peer_type: PeerType = PeerType.REMOTE) -> None:
        """Connect a peer and listen to its greeting."""
        self.queues.add(port)
        self.router.add_peer(port, signer.public_key, peer_type, self.now)

    def remove(self, port: int) -> None:
        self.router.remove_peer(port, self.now)
        self.queues.remove(port)

    def hear(self, port: int, update: Announcement) -> None:
        """An announcement arrives; what the router already had to say is thrown away first."""
        self.silence()
        payload = encode_announcement(update)
        self.router.handle_announcement(port, TreeAnnouncementFrame(payload), self.now)

    def follow(self, port: int, *signers: Signer, sequence: int = 1) -> None:
        """Connect a peer that offers a root, and throw away what is said about it."""
        self.add(port, signers[-1])
        self.hear(port, announcement(*signers, sequence=sequence))
        self.silence()

    def silence(self) -> None:
        for port in self.router.peers:
            self.sent(port)

    def sent(self, port: int) -> list[Frame]:
        """What the router sent to a port since it was last asked."""
        stream = b"".join(self.queues[port].take(1 << 20))
        return [decode_frame(frame) for frame in Framer().split(memoryview(stream))[0]]

    def announced(self, port: int) -> list[Announcement]:
        return [
            decode_announcement(frame.payload)
            for frame in self.sent(port)
            if isinstance(frame, TreeAnnouncementFrame)
        ]

    def bootstraps(self, port: int) -> list[BootstrapFrame]:
        return [frame for frame in self.sent(port) if isinstance(frame, BootstrapFrame)]

    def broadcasts(self, port: int) -> list[WakeupBroadcastFrame]:
        return [frame for frame in self.sent(port) if isinstance(frame, WakeupBroadcastFrame)]

    def advance(self, seconds: float) -> None:
        """Let time pass, firing every timer at its exact time."""
        until = self.seconds + seconds
        while (due := self.router.deadline()) <= until:
            self.seconds = max(due, self.seconds)
            self.router.handle_timer(self.now)
        self.seconds = until
