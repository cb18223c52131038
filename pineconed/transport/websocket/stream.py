# SPDX-License-Identifier: Apache-2.0
"""The driver's end of a WebSocket peering: a stream over one end of a socket pair."""

import socket
from collections.abc import Callable

from pineconed.transport.stream import LocalEnd, local_end, tcp_rtt
from pineconed.transport.unix import UnixStream


class WebSocketStream(UnixStream):
    """A stream whose bytes a pump carries on; it owns its end of the pair.

    `fault` is what the other node did wrong, set before the pair is closed. `closed` is called by `close`.
    `carrier` is the TCP socket under the WebSocket, which somebody else owns.
    """

    __slots__ = ("_carrier", "_closed", "fault", "kind")

    def __init__(
        self,
        near: socket.socket,
        kind: str,
        remote: str,
        carrier: socket.socket | None,
        closed: Callable[[], None],
    ) -> None:
        super().__init__(near, remote)
        self._carrier = carrier
        self._closed = closed
        self.kind = kind
        self.fault: str | None = None

    def recv_into(self, buffer: memoryview) -> int:
        """Read what came in messages. ConnectionError at the end if it was a fault of the other node."""
        size = super().recv_into(buffer)
        if not size and self.fault is not None:
            raise ConnectionError(self.fault)
        return size

    def close(self) -> None:
        """Let the pump send what it was given and take leave, within a moment."""
        super().close()
        self._closed()

    def rtt(self) -> float | None:
        """That of the TCP connection below, None when it is gone."""
        return None if self._carrier is None else tcp_rtt(self._carrier)

    def local(self) -> LocalEnd | None:
        """That of the TCP connection below."""
        return None if self._carrier is None else local_end(self._carrier)
