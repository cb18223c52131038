# SPDX-License-Identifier: Apache-2.0
"""Frames that are no traffic: what the router makes of them, and what that says about the peer."""

from collections.abc import Iterable

from pineconed.clock import Now
from pineconed.node.link import Link
from pineconed.router.broadcast import BroadcastVerdict
from pineconed.router.events import Event, LinkAnnounced, PeerMisbehaved
from pineconed.router.router import Router
from pineconed.router.snake import BootstrapVerdict
from pineconed.router.verification import MAX_HOPS
from pineconed.wire.frame import (
    BootstrapFrame,
    TreeAnnouncementFrame,
    UnknownFrame,
    WakeupBroadcastFrame,
    decode_frame,
)

SUSPECT_VERDICTS = frozenset(
    {
        BootstrapVerdict.MALFORMED,
        BootstrapVerdict.BAD_SIGNATURE,
        BootstrapVerdict.OVER_BUDGET,
        BootstrapVerdict.NO_ROOM,
        BroadcastVerdict.MALFORMED,
        BroadcastVerdict.BAD_SIGNATURE,
        BroadcastVerdict.OVER_BUDGET,
        BroadcastVerdict.NO_ROOM,
    }
)
"""What became of frames that honest peers send seldom or never."""


class ProtocolFrames:
    """Hands them to the router, and notes events."""

    def __init__(self, router: Router, events: list[Event]) -> None:
        self._router = router
        self._events = events

    def receive(self, link: Link, port: int, raw: memoryview, now: Now) -> None:
        """One frame, by a link with a port. CodecError or PeerFaultError when the link is to be closed."""
        frame = decode_frame(raw)
        if frame.version:
            self._misbehaved(link, "frame of another version", f"version {frame.version}")
        match frame:
            case TreeAnnouncementFrame():
                if not self._router.handle_announcement(port, frame, now):
                    self._misbehaved(link, "announcement too long", f"more than {MAX_HOPS} hops")
                self._note_announcement(link)
            case BootstrapFrame():
                verdict = self._router.handle_bootstrap(port, frame, now)
                self._judge(link, verdict, frame.destination_key)
            case WakeupBroadcastFrame():
                seen = self._router.handle_broadcast(port, frame, now)
                self._judge(link, seen, frame.source_key)
            case UnknownFrame():
                self._misbehaved(link, "frame of unknown type", f"type {frame.type}")

    def note_announcements(self, links: Iterable[Link]) -> None:
        """Report the links whose first valid announcement the router has taken meanwhile."""
        for link in links:
            self._note_announcement(link)

    def _note_announcement(self, link: Link) -> None:
        """Report the first valid announcement of a link."""
        if link.announced or link.port is None or link.peering.public_key is None:
            return
        if self._router.peers[link.port].heard is not None:
            link.announced = True
            self._events.append(LinkAnnounced(link.number, link.port, link.peering.public_key))

    def _judge(self, link: Link, verdict: BootstrapVerdict | BroadcastVerdict, key: bytes) -> None:
        if verdict in SUSPECT_VERDICTS:
            self._misbehaved(link, verdict.replace("_", " "), f"from {key.hex()}")

    def _misbehaved(self, link: Link, cause: str, detail: str) -> None:
        link.drops[cause.replace(" ", "_")] += 1
        self._events.append(PeerMisbehaved(link.number, cause, detail))
