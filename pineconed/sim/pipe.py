# SPDX-License-Identifier: Apache-2.0
"""One direction of a simulated TCP stream: reliable, ordered, and cut into arbitrary pieces.

The flow: `send` gives bytes a place on the wire (serialisation delay, then latency); `_arrive` hands the
first segment to the receiver, whole or cut in two by the seeded rng; `stall` holds everything that is still
under way, as TCP does when a path silently loses packets; `resume` lets it go at the next retransmission.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pineconed.sim.clock import Alarm, VirtualClock

UNSENT_LIMIT = 16 * 1024
"""A socket is writable while less than this is unsent (TCP_NOTSENT_LOWAT of the daemon), in bytes."""

STALLED_LIMIT = 64 * 1024
"""Bytes that a socket takes in while nothing is acknowledged: a congestion window and the unsent limit."""

FIRST_RETRANSMISSION = 0.2
"""The first retransmission timeout of TCP in seconds; it doubles with every loss."""

CUT_DELAY = 0.001
"""The second part of a cut segment arrives up to this much later, in seconds."""


_INSTANT = 1e-9  # seconds; less than this is a rounding error


@dataclass(frozen=True, slots=True)
class LinkShape:
    """How a link carries bytes.

    `latency` is one way, in seconds; `bandwidth` is in bits per second each way, None for no serialisation
    delay; `cut_probability` is how often an arriving segment is cut at a random place.
    """

    latency: float = 0.01
    bandwidth: float | None = None
    cut_probability: float = 0.25


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a pipe ends.

    `data` takes arriving bytes, `ended` the end of the stream; `drained` tells the sender to go on.
    """

    data: Callable[[bytes], None]
    ended: Callable[[], None]
    drained: Callable[[], None]


class Pipe:
    """Bytes on their way in one direction."""

    def __init__(self, clock: VirtualClock, rng: Random, shape: LinkShape, receiver: Receiver) -> None:
        self._clock = clock
        self._rng = rng
        self._shape = shape
        self._receiver = receiver
        self._segments: deque[tuple[float, bytes]] = deque()
        self._held: list[bytes] = []
        self._stalled = False
        self._first_loss: float | None = None
        self._free_at = clock.now
        self._finished = False
        self._arrival: Alarm | None = None
        self._drain: Alarm | None = None

    def writable(self) -> bool:
        """Whether the sender's socket takes more bytes; if not, `drained` is called when it does again."""
        if self._stalled:
            return sum(map(len, self._held)) < STALLED_LIMIT
        wait = self._free_at - self._clock.now - self._seconds(UNSENT_LIMIT)
        if wait <= _INSTANT:
            return True
        if self._drain is None:
            self._drain = self._clock.after(wait, self._drained)
        return False

    def send(self, data: bytes) -> None:
        """Take bytes into the sender's socket, which must be writable."""
        if self._stalled:
            self._hold(data)
        else:
            self._free_at = max(self._clock.now, self._free_at) + self._seconds(len(data))
            self._append(self._free_at + self._shape.latency, data)

    def finish(self) -> None:
        """The sender closed its end: the receiver learns it after all bytes that are under way."""
        if not self._finished:
            self._finished = True
            self.send(b"")

    def stall(self) -> None:
        """From now on nothing arrives; what is under way waits for a retransmission."""
        if self._stalled:
            return
        self._stalled = True
        under_way = [data for _, data in self._segments]
        self._segments.clear()
        self._disarm()
        for data in under_way:
            self._hold(data)

    def resume(self) -> None:
        """The path works again: what was held leaves at TCP's next retransmission."""
        if not self._stalled:
            return
        self._stalled = False
        held, self._held = self._held, []
        if self._first_loss is not None:
            self._free_at = max(self._free_at, _next_retransmission(self._first_loss, self._clock.now))
            self._first_loss = None
        for data in held:
            self.send(data)
        self._clock.at(self._free_at, self._drained)

    def abandon(self) -> None:
        """Forget everything that is under way: the stream was reset."""
        self._segments.clear()
        self._held.clear()
        self._disarm()
        self._stalled = True

    def _seconds(self, size: int) -> float:
        bandwidth = self._shape.bandwidth
        return size * 8 / bandwidth if bandwidth else 0.0

    def _hold(self, data: bytes) -> None:
        if self._first_loss is None:
            self._first_loss = self._clock.now
        self._held.append(data)

    def _append(self, when: float, data: bytes) -> None:
        self._segments.append((when, data))
        if len(self._segments) == 1:
            self._arrival = self._clock.at(when, self._arrive)

    def _arrive(self) -> None:
        _, data = self._segments.popleft()
        self._arrival = None
        piece = self._cut(data)
        if self._segments:
            self._arrival = self._clock.at(self._segments[0][0], self._arrive)
        if piece:
            self._receiver.data(piece)
        elif self._finished and not self._segments:
            self._receiver.ended()

    def _cut(self, data: bytes) -> bytes:
        """The part of a segment that arrives now; the rest goes back to the front of the queue."""
        if len(data) < 2 or self._rng.random() >= self._shape.cut_probability:
            return data
        place = self._rng.randrange(1, len(data))
        later = self._clock.now + self._rng.random() * CUT_DELAY
        self._segments.appendleft((later, data[place:]))
        return data[:place]

    def _disarm(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _drained(self) -> None:
        self._drain = None
        if not self._stalled:
            self._receiver.drained()


def _next_retransmission(first_loss: float, now: float) -> float:
    """When TCP sends again what it first sent at `first_loss`, given that it works from `now` on."""
    timeout = FIRST_RETRANSMISSION
    when = first_loss + timeout
    while when < now:
        timeout *= 2
        when += timeout
    return when
