# SPDX-License-Identifier: Apache-2.0
"""The time between the connect and the Pinecone handshake: the TLS handshake, then a few messages in it.

It runs as a coroutine of whoever serves or dials, under his deadline. The bytes that it reads are bounded.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pineconed.transport.stream import SocketStream
from pineconed.transport.tls.certificate import ALPN
from pineconed.transport.tls.stream import Records, TlsStream, tls_reason
from pineconed.wire.first_bytes import TLS_ALERT, Protocol, protocol_of

READ = 4096
MAX_BYTES = 64 * 1024
"""What one side may send before it has proved its key; an honest one needs 2 KB."""

_WEB = "it is a web browser or server, or one side has {scheme}:// in its URI and the other has not"

ResultT = TypeVar("ResultT")


class PhaseError(Exception):
    """There will be no TLS peering; the text says why, as a sentence about the other end."""


class Phase:
    """One connection in this time. `words` says what plain Pinecone on it means."""

    def __init__(self, connected: socket.socket, records: Records, words: str) -> None:
        self._socket = connected
        self._records = records
        self._words = words
        self._loop = asyncio.get_running_loop()
        self._taken = 0

    @property
    def peer_certificate(self) -> bytes:
        """The server's certificate in DER, on the client's side."""
        return self._records.tls.getpeercert(binary_form=True) or b""

    async def shake_hands(self) -> None:
        """Do the TLS handshake. PhaseError when it fails, or when the other end is no pineconed."""
        await self._step(self._records.tls.do_handshake)
        if self._records.tls.selected_alpn_protocol() != ALPN:
            raise PhaseError(f"it speaks TLS, but not {ALPN}: {_WEB.format(scheme='wss')}")

    async def read(self, length: int) -> bytes:
        """Exactly so many plain bytes, and none of what follows."""
        data = bytearray()
        while len(data) < length:
            taken = await self._step(partial(self._records.tls.read, length - len(data)))
            if not taken:
                raise PhaseError("it closed the connection before its proof was complete")
            data += taken
        return bytes(data)

    async def write(self, data: bytes) -> None:
        """Send plain bytes."""
        await self._step(lambda: self._records.tls.write(data))

    def stream(self, remote: str, proven_key: bytes) -> TlsStream:
        """The connection as a stream from now on."""
        return TlsStream(SocketStream(self._socket, remote), self._records, proven_key)

    async def _step(self, operation: Callable[[], ResultT]) -> ResultT:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                await self._push()
                await self._pull()
            except ssl.SSLError as error:
                with contextlib.suppress(OSError):
                    await self._push()  # the alert
                raise PhaseError(tls_reason(error)) from error
            else:
                await self._push()
                return result

    async def _push(self) -> None:
        if self._records.outgoing.pending:
            await self._loop.sock_sendall(self._socket, self._records.outgoing.read())

    async def _pull(self) -> None:
        data = await self._loop.sock_recv(self._socket, READ)
        if not data:
            raise PhaseError("it closed the connection before its proof was complete")
        if not self._taken:
            await self._check_start(data)
        self._taken += len(data)
        if self._taken > MAX_BYTES:
            raise PhaseError(f"it sent more than {MAX_BYTES} bytes without a proof of its key")
        self._records.incoming.write(data)

    async def _check_start(self, data: bytes) -> None:
        protocol = protocol_of(data)
        if protocol is Protocol.TLS or len(data) == 1:
            return
        await self._loop.sock_sendall(self._socket, TLS_ALERT)
        if protocol is Protocol.PINECONE:
            raise PhaseError(f"it speaks {protocol}: {self._words}")
        if protocol is Protocol.HTTP:
            raise PhaseError(f"it speaks HTTP, not TLS: {_WEB.format(scheme='ws')}")
        raise PhaseError(f"it speaks {protocol or 'something'}, not TLS, so it is no pineconed")
