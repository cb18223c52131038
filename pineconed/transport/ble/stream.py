# SPDX-License-Identifier: Apache-2.0
"""An L2CAP channel as the driver wants it: a stream that never takes more than the channel does."""

from collections.abc import Sequence

from pineconed.transport.ble.backend import Channel
from pineconed.transport.stream import PolledStream
from pineconed.wire.buffer import Buffer


class BleStream(PolledStream):
    """A channel as a stream; it owns the channel's socket. `remote` is the address of the other device."""

    kind = "ble"
    __slots__ = ("_channel", "_max_write")

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.socket, str(channel.remote))
        self._channel = channel
        self._max_write = channel.max_write

    def recv_into(self, buffer: memoryview) -> int:
        """See `Stream`. OSError at the end of a channel that was ended because we were too slow."""
        size = self._socket.recv_into(buffer)
        if not size and self._channel.overrun():
            raise OSError("more came by Bluetooth than this node could take")
        return size

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
