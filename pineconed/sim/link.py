# SPDX-License-Identifier: Apache-2.0
"""Cables between simulated hosts, the TCP streams over them, and the dialling that keeps one stream there.

A cable that is cut silently stalls its streams: both ends stay open and nothing arrives. One that is
unplugged resets them: both ends see the stream fail. A host that closes its end leaves the other one to learn
it by the end of the stream. Whatever ended the stream, the dialling host tries again with a back-off.
"""

from enum import StrEnum
from random import Random
from typing import Protocol

from pineconed.sim.clock import Alarm, VirtualClock
from pineconed.sim.pipe import LinkShape, Pipe, Receiver

FIRST_BACKOFF = 1.0
"""Seconds before the first redial at the least, and half of what they are at the most; the range doubles."""

LONGEST_BACKOFF = 60.0
"""Seconds before a redial at the most."""

CONNECT_REPEATS = (1.0, 3.0, 7.0)
"""When an unanswered TCP connection request is sent again, in seconds after the first."""

CONNECT_TIMEOUT = 10.0
"""Seconds after which a connection request that nobody answered fails."""


class LinkState(StrEnum):
    """What a cable does to its streams."""

    UP = "up"
    SILENT = "silent"
    UNPLUGGED = "unplugged"


class StreamOwner(Protocol):
    """What a link needs of the host at each of its ends."""

    @property
    def alive(self) -> bool:
        """Whether the host runs and answers connection requests."""
        ...

    def stream_opened(self, end: "StreamEnd") -> None:
        """A stream is there, and `end` is this host's end of it."""
        ...

    def stream_received(self, end: "StreamEnd", data: bytes) -> None:
        """Bytes arrived."""
        ...

    def stream_writable(self, end: "StreamEnd") -> None:
        """The socket takes bytes again."""
        ...

    def stream_failed(self, end: "StreamEnd", reason: str) -> None:
        """The stream was ended by the other end or by the network."""
        ...


class StreamEnd:
    """One end of a stream: what a socket is to the daemon."""

    __slots__ = ("dialed", "host", "is_open", "link", "outgoing")

    def __init__(self, link: "Link", host: StreamOwner, dialed: bool) -> None:
        self.link = link
        self.host = host
        self.dialed = dialed
        self.is_open = False
        self.outgoing: Pipe

    def open(self) -> None:
        """The connection is established for this end."""
        if not self.link.holds(self):
            self.link.ended(self)
            return
        self.is_open = True
        self.host.stream_opened(self)

    def close(self) -> None:
        """The host closes its end; bytes that it has sent still arrive, then the end of the stream."""
        if self.is_open:
            self.is_open = False
            self.outgoing.finish()
            self.link.ended(self)

    def fail(self, reason: str) -> None:
        """The stream ends without the host's doing."""
        if self.is_open:
            self.is_open = False
            self.outgoing.finish()
            self.host.stream_failed(self, reason)
            self.link.ended(self)

    def received(self, data: bytes) -> None:
        """Bytes arrive; a closed end ignores them."""
        if self.is_open:
            self.host.stream_received(self, data)

    def drained(self) -> None:
        """The socket has room again."""
        if self.is_open:
            self.host.stream_writable(self)


class Link:
    """A cable between two hosts, of which the first dials, and the streams over it."""

    def __init__(
        self,
        clock: VirtualClock,
        rng: Random,
        number: int,
        hosts: tuple[StreamOwner, StreamOwner],
        shape: LinkShape,
    ) -> None:
        self.number = number
        self.hosts = hosts
        self.shape = shape
        self.state = LinkState.UP
        self.redials = True
        self._clock = clock
        self._rng = rng
        self._streams: list[tuple[StreamEnd, StreamEnd]] = []
        self._attempts = 0
        self._redial: Alarm | None = None

    def dial(self) -> None:
        """Ask for a connection now with a fresh back-off, unless the dialling host has one."""
        if self._redial is not None:
            self._redial.cancel()
            self._redial = None
        self._attempts = 0
        if not any(near.is_open for near, _ in self._streams):
            self._request(0)

    def announced(self) -> None:
        """The dialling host got its first valid announcement: the next back-off starts small again."""
        self._attempts = 0

    def cut(self) -> None:
        """Lose every byte from now on, silently: both ends stay open."""
        self.state = LinkState.SILENT
        for pipe in self._pipes():
            pipe.stall()

    def unplug(self) -> None:
        """Break the cable so that both ends see their streams fail at once and new dials are refused."""
        self.state = LinkState.UNPLUGGED
        self.reset()

    def mend(self) -> None:
        """Carry bytes again; streams that still stand go on, else the dialling host's next try succeeds."""
        self.state = LinkState.UP
        for pipe in self._pipes():
            pipe.resume()

    def plug(self) -> None:
        """Carry bytes again, and dial at once if the dialling host has no stream: it noticed the plug."""
        self.mend()
        self.dial()

    def reset(self) -> None:
        """End the streams for both ends at once; the cable stays as it is."""
        for stream in list(self._streams):
            for end in stream:
                end.outgoing.abandon()
            for end in stream:
                end.fail("connection reset")
            self._forget(stream)

    def holds(self, end: StreamEnd) -> bool:
        """Whether this end's stream is one of the link's."""
        return any(end in stream for stream in self._streams)

    def ended(self, end: StreamEnd) -> None:
        """One end of a stream closed or failed."""
        for stream in self._streams:
            if end in stream and not any(other.is_open for other in stream):
                self._forget(stream)
                break
        if end.dialed:
            self._dial_later()

    def _pipes(self) -> list[Pipe]:
        return [end.outgoing for stream in self._streams for end in stream]

    def _forget(self, stream: tuple[StreamEnd, StreamEnd]) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    def _dial_later(self) -> None:
        if not self.redials or self._redial is not None or not self.hosts[0].alive:
            return
        self._attempts += 1
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0**self._attempts)
        self._redial = self._clock.after(longest * (1 + self._rng.random()) / 2, self._repeat, 0)

    def _request(self, repeat: int) -> None:
        dialer, acceptor = self.hosts
        if not dialer.alive:
            return
        if self.state is LinkState.SILENT:
            self._request_lost(repeat)
        elif self.state is LinkState.UNPLUGGED or not acceptor.alive:
            self._dial_later()
        else:
            self._establish()

    def _request_lost(self, repeat: int) -> None:
        moments = (0.0, *CONNECT_REPEATS, CONNECT_TIMEOUT)
        wait = moments[repeat + 1] - moments[repeat]
        if repeat < len(CONNECT_REPEATS):
            self._redial = self._clock.after(wait, self._repeat, repeat + 1)
        else:
            self._redial = self._clock.after(wait, self._timed_out)

    def _repeat(self, repeat: int) -> None:
        self._redial = None
        self._request(repeat)

    def _timed_out(self) -> None:
        self._redial = None
        self._dial_later()

    def _establish(self) -> None:
        near, far = (
            StreamEnd(self, host, dialed) for host, dialed in zip(self.hosts, (True, False), strict=True)
        )
        near.outgoing = self._pipe(near, far)
        far.outgoing = self._pipe(far, near)
        self._streams.append((near, far))
        self._clock.after(self.shape.latency, self._accepted, near, far)

    def _accepted(self, near: StreamEnd, far: StreamEnd) -> None:
        self._clock.after(self.shape.latency, near.open)
        far.open()

    def _pipe(self, sender: StreamEnd, receiver: StreamEnd) -> Pipe:
        ends = Receiver(receiver.received, lambda: receiver.fail("end of stream"), sender.drained)
        return Pipe(self._clock, self._rng, self.shape, ends)
