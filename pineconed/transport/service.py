# SPDX-License-Identifier: Apache-2.0
"""From an admitted socket to a stream: what each scheme does between the accept and the handshake.

A service takes sockets from its listener and hands streams to its intake, which makes links of them.
"""

import socket
from typing import Protocol

from pineconed.peering.admission import Objection
from pineconed.transport.gate import Visit
from pineconed.transport.stream import SocketStream, Stream


class Intake(Protocol):
    """Where the streams of one listener go."""

    def attach(self, stream: Stream, visit: Visit) -> None:
        """Give the stream to the node, which greets the peer at once."""
        ...

    def fail(self, remote: str, visit: Visit, reason: str) -> None:
        """Say that there will be no stream, for the log; the visit is over. `reason` is one sentence."""
        ...

    def objection(self, public_key: bytes) -> Objection | None:
        """Why the node with this key, once the transport has proved it, may not come in here now."""
        ...


class Service(Protocol):
    """Serves the sockets of one listener."""

    def serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        """Take over an admitted, non-blocking socket; see `listener.Serve`."""
        ...

    def reload(self) -> None:
        """Read the files that the URI names again. ListenError when they are no good."""
        ...

    async def close(self) -> None:
        """Close the sockets that are no streams yet; streams that were handed over live on."""
        ...


class TcpService:
    """Hands the socket over as it is."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        """Attach the stream at once."""
        self._intake.attach(SocketStream(accepted, remote), visit)

    def reload(self) -> None:
        """There are no files."""

    async def close(self) -> None:
        """Nothing is kept here."""
