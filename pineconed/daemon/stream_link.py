# SPDX-License-Identifier: Apache-2.0
"""One stream of the node as the driver has it: what was read and not yet handled, taken and not yet sent."""

from collections.abc import Iterator, Sequence

from pineconed.transport.stream import Stream
from pineconed.wire.buffer import Buffer

PULL = 16 * 1024
SLOW_PULL = 2 * 1024
"""Bytes taken from a link's queue for one send, and from that of a slow one, so that what is urgent waits no
longer than for these; a single longer frame is taken whole."""

JOIN_BELOW = 512
"""Buffers shorter than this on average are joined: measured, one copy costs less than an iovec for each."""


class StreamLink:
    """A link with its stream. `pull` is how much is taken for one send, in bytes.

    `unread` and `unsent` are what is left for a later turn. `blocked` says that nothing more is to be taken
    for the link now, `watched` that the loop tells when its socket is writable.
    """

    __slots__ = ("blocked", "fd", "number", "pull", "stream", "unread", "unsent", "watched")

    def __init__(self, number: int, stream: Stream) -> None:
        self.number = number
        self.stream = stream
        self.fd = stream.fileno()
        self.pull = SLOW_PULL if stream.kind == "ble" else PULL
        self.unread: memoryview | None = None
        self.unsent: list[Buffer] = []
        self.blocked = False
        self.watched = False

    def push(self, buffers: Sequence[Buffer]) -> None:
        """Send these buffers; what the socket does not take becomes `unsent`. OSError when it has failed."""
        count = len(buffers)
        size = sum(map(len, buffers))
        if count > 1 and size < JOIN_BELOW * count:
            buffers = [b"".join(buffers)]
        try:
            sent = self.stream.send(buffers)
        except BlockingIOError:
            sent = 0
        self.unsent = list(_after(buffers, sent)) if sent < size else []


def _after(buffers: Sequence[Buffer], sent: int) -> Iterator[Buffer]:
    """What remains of these buffers behind the first `sent` bytes."""
    for buffer in buffers:
        if sent >= len(buffer):
            sent -= len(buffer)
        elif sent:
            yield memoryview(buffer)[sent:]
            sent = 0
        else:
            yield buffer
