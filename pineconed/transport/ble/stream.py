# SPDX-License-Identifier: Apache-2.0
"""An L2CAP channel as the driver wants it: a stream that never takes more than the channel does."""

import select
from collections.abc import Sequence

from pineconed.transport.ble.backend import Channel
from pineconed.transport.stream import LocalEnd
from pineconed.wire.buffer import Buffer


class BleStream:
    """A channel as a stream; it owns the channel's socket. `remote` is the address of the other device."""

    kind = "ble"
    pending = False
    proven_key: bytes | None = None
    __slots__ = ("_max_write", "_poll", "_socket", "channel", "fileno", "recv_into", "remote")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.remote = str(channel.remote)
        self._socket = channel.socket
        self._max_write = channel.max_write
        self._poll = select.poll()
        self._poll.register(channel.socket.fileno(), select.POLLOUT)
        self.fileno = channel.socket.fileno
        self.recv_into = channel.socket.recv_into

    def send(self, buffers: Sequence[Buffer]) -> int:
        """As many system calls as it takes, none of them above what the channel allows."""
        data = memoryview(buffers[0] if len(buffers) == 1 else b"".join(buffers))
        at_once = self._max_write or len(data)
        sent = 0
        while sent < len(data):
            try:
                sent += self._socket.send(data[sent : sent + at_once])
            except BlockingIOError:
                if sent:
                    break
                raise
        return sent

    def has_room(self) -> bool:
        """Whether so little is unsent that more may be handed over; just what the loop waits for."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the channel."""
        self._socket.close()

    def rtt(self) -> float | None:
        """Unknown: nothing below measures one."""
        return None

    def local(self) -> LocalEnd | None:
        """None: it has no IP address."""
        return None
