# SPDX-License-Identifier: Apache-2.0
"""A TLS connection as a stream of the driver.

TLS works on memory here and the socket is read and written beside it. So what one call may do is bounded by
the bytes that it takes from the socket: records without data (key updates) cannot keep OpenSSL in one call
for as long as somebody sends them, and the fewer are taken the less data is in them. It also saves half of
the system calls.
"""

import ssl
from collections.abc import Sequence
from typing import cast

from pineconed.transport.stream import SocketStream
from pineconed.transport.tcp import plain_reason
from pineconed.wire.buffer import Buffer

FILL = 128 * 1024
"""Bytes taken from the socket at once, at most."""

LEAST_FILL = 4 * 1024
"""The same at first, and while hardly any data is in the records: key updates cost much more than data."""

MAX_BARREN = 17 * 1024
"""Bytes without data before that: a record that has not come in whole is no longer than this."""

MAX_UNASKED = 256 * 1024
"""Bytes that may wait when answers to the peer's own doing (key updates) join them; a frame has 64 KiB."""


class Records:
    """The two sides of TLS: `incoming` and `outgoing` hold records, `tls` the plain bytes."""

    __slots__ = ("incoming", "outgoing", "tls")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_name
        )


class TlsStream:
    """A TLS connection over a TCP stream, both of which it owns; the TLS handshake is done."""

    kind = "tls"
    __slots__ = (
        "_barren",
        "_ended",
        "_fill",
        "_incoming",
        "_outgoing",
        "_owed",
        "_socket",
        "_tls",
        "_unsent",
        "fileno",
        "has_room",
        "local",
        "pending",
        "proven_key",
        "remote",
        "rtt",
    )

    def __init__(self, socket: SocketStream, records: Records, proven_key: bytes) -> None:
        self._socket = socket
        self._tls, self._incoming, self._outgoing = records.tls, records.incoming, records.outgoing
        self._unsent = memoryview(self._outgoing.read())
        self._owed = 0
        self._ended = False
        self._barren, self._fill = 0, LEAST_FILL
        self.proven_key: bytes | None = proven_key
        self.remote = socket.remote
        self.pending = True  # the peer's handshake may have come with its proof
        self.fileno, self.has_room, self.rtt = socket.fileno, socket.has_room, socket.rtt
        self.local = socket.local

    def recv_into(self, buffer: memoryview) -> int:
        """Read plain bytes; 0 at the end of the stream, also at one without a TLS farewell.

        BlockingIOError when there is nothing now, OSError when the peer breaks TLS.
        """
        size = self._decrypt(buffer) if self.pending else 0
        if not size and not self._ended:
            # The buffer is the place for the records too, as they are longer than what is in them.
            taken = self._socket.recv_into(buffer[: self._fill])
            if not taken:
                return 0
            self._incoming.write(buffer[:taken])
            size = self._decrypt(buffer)
            self._barren = min(max(0, self._barren + taken - 2 * size), FILL)
            self._fill = min(FILL, 2 * self._fill) if self._barren <= MAX_BARREN else LEAST_FILL
        if self._outgoing.pending:
            self._answer()
        if not size and not self._ended:
            raise BlockingIOError
        return size

    def _decrypt(self, buffer: memoryview) -> int:
        size, room = 0, len(buffer)
        self.pending = True
        try:
            while size < room:
                taken = cast("int", self._tls.read(room - size, buffer[size:]))
                if not taken:  # the peer's farewell
                    self._ended = True
                    break
                size += taken
        except ssl.SSLWantReadError:
            self.pending = False
        except ssl.SSLError as error:
            raise OSError(tls_reason(error)) from error
        return size

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt and hand over: all of it, or BlockingIOError when the kernel does not take all of it now.

        Then the same bytes have to come again (the driver keeps them in front): what is left of their records
        is sent, and they count.
        """
        self._flush()
        if self._owed:
            sent, self._owed = self._owed, 0
            return sent
        plain = memoryview(buffers[0] if len(buffers) == 1 else b"".join(buffers))
        size, done = len(plain), 0
        while done < size:
            done += self._tls.write(plain[done:])
        self._unsent = memoryview(self._outgoing.read())
        try:
            self._flush()
        except BlockingIOError:
            self._owed = size
            raise
        return size

    def close(self) -> None:
        """Close the socket as a TCP stream does; without a farewell, since frames tell their lengths."""
        self._socket.close()

    def _flush(self) -> None:
        """Send what is left of encrypted bytes. BlockingIOError while the kernel does not take all of it."""
        while self._unsent:
            self._unsent = self._unsent[self._socket.send([self._unsent]) :]

    def _answer(self) -> None:
        """Queue what OpenSSL wants to say by itself behind the records that wait already."""
        self._unsent = memoryview(b"".join((self._unsent, self._outgoing.read())))
        if len(self._unsent) > MAX_UNASKED:
            raise OSError("the peer asks for more and more without reading the answers")


def tls_reason(error: ssl.SSLError) -> str:
    """What went wrong in TLS, in plain English."""
    return f"TLS failed: {_WORDS.get(error.reason or '') or plain_reason(error)}"


_WORDS = {
    "UNSUPPORTED_PROTOCOL": "the other end speaks an older version than 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other end speaks another version than 1.3",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the other end is no pineconed (it does not speak pinecone/1)",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "bytes were changed on the way",
}
