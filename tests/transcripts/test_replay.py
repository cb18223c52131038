# SPDX-License-Identifier: Apache-2.0
"""Our node takes the place of a reference node and must do as that did (see `record.py`).

It gets the same bytes from the same peers at the same times. What the protocol determines must be the same
bytes on every connection: the handshake, each tree announcement, whatever it passes on for others. Its own
bootstraps and broadcasts carry the time: of these the occasions, the roots and the watermarks are compared.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pineconed.clock import Now
from pineconed.node.node import Node
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Party
from pineconed.router.events import CloseLink, Event, LinkDown, LinkUp, PeerMisbehaved
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.frame import (
    BootstrapFrame,
    Frame,
    Keepalive,
    TrafficFrame,
    TreeAnnouncementFrame,
    WakeupBroadcastFrame,
    decode_frame,
)
from pineconed.wire.handshake import HANDSHAKE_LENGTH
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import decode_payload
from tests.transcripts.transcript import Transcript, load

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.json"))
BOOT = 1_000.0
"""What the injected clock shows when the node starts, in seconds."""


class Replay:
    """A node of ours that lives through a transcript; `sent` is what it sent on each connection and when."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.sent: dict[int, list[tuple[int, bytes]]] = {}
        self.events: list[Event] = []
        self._numbers: dict[int, int] = {}
        self._milliseconds = 0
        signer = Ed25519Signer(transcript.seed)
        self.public_key = signer.public_key
        party = Party(Ed25519Identity(transcript.seed), Random(1).randbytes)
        self.node = Node(
            signer=signer, verifier=verify_ed25519, party=party, flow_key=bytes(16), now=self._now()
        )
        self.node.start(self._now())

    def _now(self) -> Now:
        # The reference counts its own sequence from 1 and ours starts at Unix seconds: so here these are 0.
        return Now(BOOT + self._milliseconds / 1000, self._milliseconds)

    def run(self) -> None:
        """Live through all events, timers in between at their exact times."""
        for event in self.transcript.events:
            self._pass_time(event.milliseconds)
            self._happen(event.kind, event.link, event.data)
            self._collect()

    def _pass_time(self, until: int) -> None:
        while (due := round((self.node.deadline() - BOOT) * 1000 + 0.5)) <= until:
            self._milliseconds = max(due, self._milliseconds + 1)
            self.node.handle_timer(self._now())
            self._collect()
        self._milliseconds = until

    def _happen(self, kind: str, link: int, data: bytes) -> None:
        if kind == "up":
            options = LinkOptions(PeerType.REMOTE, "", f"link {link}", Direction.INBOUND)
            self._numbers[link] = self.node.add_link(options, self._now())
            self.sent[link] = []
        elif kind == "in":
            assert self.node.receive(self._numbers[link], memoryview(data), self._now()) == len(data)
        elif kind == "down":
            self.node.remove_link(self._numbers[link], "end of the stream", self._now())

    def _collect(self) -> None:
        links = {number: link for link, number in self._numbers.items()}
        for number in self.node.take_ready():
            while buffers := self.node.take(number, 1 << 20, self._now()):
                self.sent[links[number]] += [(self._milliseconds, bytes(buffer)) for buffer in buffers]
        self.events += self.node.events()

    def stream(self, link: int) -> bytes:
        """Everything sent on one connection."""
        return b"".join(data for _, data in self.sent[link])


@pytest.fixture(scope="module", params=TRANSCRIPTS, ids=lambda path: path.stem)
def replay(request: pytest.FixtureRequest) -> Replay:
    """Replay one transcript once for all tests."""
    made = Replay(load(request.param))
    made.run()
    return made


def frames(stream: bytes) -> Iterator[Frame]:
    """Cut what was sent after the handshake into frames."""
    offset = HANDSHAKE_LENGTH
    while offset < len(stream):
        length = int.from_bytes(stream[offset + 8 : offset + 10])
        yield decode_frame(stream[offset : offset + length])
        offset += length


def both(replay: Replay, *kinds: type[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """For each connection the frames of some kinds: those the reference sent, and ours."""
    for link in replay.transcript.links:
        theirs, ours = replay.transcript.sent(link), replay.stream(link)
        yield (
            [frame for frame in frames(theirs) if isinstance(frame, kinds)],
            [frame for frame in frames(ours) if isinstance(frame, kinds)],
        )


def test_there_are_transcripts() -> None:
    assert {path.stem for path in TRANSCRIPTS} >= {
        "join", "root", "root_change", "parent_loss", "child", "bootstrap", "traffic",
    }  # fmt: skip


def test_every_frame_of_the_reference_is_accepted(replay: Replay) -> None:
    assert [event for event in replay.events if isinstance(event, CloseLink | PeerMisbehaved)] == []
    ended = [event for event in replay.events if isinstance(event, LinkDown)]
    assert {event.reason for event in ended} <= {"end of the stream"}
    assert len(ended) == sum(event.kind == "down" for event in replay.transcript.events)


def test_every_connection_gets_its_port(replay: Replay) -> None:
    ups = [event for event in replay.events if isinstance(event, LinkUp)]
    assert len(ups) == len(replay.transcript.links)


def test_handshakes_are_the_same_bytes(replay: Replay) -> None:
    for link in replay.transcript.links:
        assert replay.stream(link)[:HANDSHAKE_LENGTH] == replay.transcript.sent(link)[:HANDSHAKE_LENGTH]


def test_announcements_are_the_same_bytes(replay: Replay) -> None:
    """But for repetitions: the reference says the same again to a peer that shows a weaker root."""
    for theirs, ours in both(replay, TreeAnnouncementFrame):
        assert without_repetitions(ours) == without_repetitions(theirs)


def without_repetitions(found: list[Any]) -> list[Any]:
    return [item for position, item in enumerate(found) if position == 0 or item != found[position - 1]]


def test_traffic_is_passed_on_unchanged(replay: Replay) -> None:
    for theirs, ours in both(replay, TrafficFrame):
        assert ours == theirs


def test_bootstraps_of_others_are_passed_on_alike(replay: Replay) -> None:
    for theirs, ours in both(replay, BootstrapFrame):
        assert of_others(ours, replay) == of_others(theirs, replay)


def of_others(found: list[BootstrapFrame], replay: Replay) -> list[BootstrapFrame]:
    return [frame for frame in found if frame.destination_key != replay.public_key]


def test_own_bootstraps_go_the_same_way(replay: Replay) -> None:
    for theirs, ours in both(replay, BootstrapFrame):
        assert own_bootstraps(ours, replay) == own_bootstraps(theirs, replay)


def own_bootstraps(found: list[BootstrapFrame], replay: Replay) -> list[tuple[Root, Any]]:
    """Roots and watermarks in order; rounds begin at other moments, so repetitions do not count."""
    return without_repetitions(
        [
            (decode_payload(frame.payload).root, frame.watermark)
            for frame in found
            if frame.destination_key == replay.public_key
        ]
    )


def test_broadcasts_are_sent_and_passed_on_alike(replay: Replay) -> None:
    for theirs, ours in both(replay, WakeupBroadcastFrame):
        assert broadcasts(ours, replay) == broadcasts(theirs, replay)


def broadcasts(found: list[WakeupBroadcastFrame], replay: Replay) -> list[Any]:
    """Those of others as they are, of our own the root and the hop limit."""
    return [
        (decode_payload(frame.payload).root, frame.hop_limit)
        if frame.source_key == replay.public_key
        else frame
        for frame in found
    ]


def test_silence_never_lasts_longer_than_the_keepalive_interval(replay: Replay) -> None:
    ends = {event.link: event.milliseconds for event in replay.transcript.events}
    for link, sent in replay.sent.items():
        moments = [moment for moment, _ in sent] + [ends[link]]
        assert max(later - earlier for earlier, later in pairwise(moments)) <= 3_010


def test_no_more_keepalives_than_the_reference(replay: Replay) -> None:
    for theirs, ours in both(replay, Keepalive):
        assert len(ours) <= len(theirs) + 2


def test_transcripts_hold_what_is_compared() -> None:
    found = {
        (path.stem, type(frame))
        for path in TRANSCRIPTS
        for link in load(path).links
        for frame in frames(load(path).sent(link))
    }
    assert {kind for _, kind in found} == {
        Keepalive, TreeAnnouncementFrame, BootstrapFrame, TrafficFrame, WakeupBroadcastFrame,
    }  # fmt: skip
