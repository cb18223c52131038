# SPDX-License-Identifier: Apache-2.0
"""What a stream that is no peering carries, by its first bytes: for the operator who mixed up two ports."""

from enum import StrEnum

from pineconed.wire.buffer import Buffer


class Protocol(StrEnum):
    """What was recognised."""

    PINECONE = "Pinecone without TLS"
    TLS = "TLS"
    HTTP = "HTTP"
    SSH = "SSH"


_TEXTS = {
    Protocol.HTTP: (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI * ", b"HTTP/"),
    Protocol.SSH: (b"SSH-",),
}
TLS_ALERT = b"\x15\3\3\0\2\2\x46"
"""The answer by which whoever speaks no TLS sees that this does: protocol_version (RFC 8446, section 6)."""

_TLS_RECORDS = range(20, 24)  # RFC 8446, section 5.1


def protocol_of(data: Buffer) -> Protocol | None:
    """The protocol that these first bytes (a few are enough) are of, None when it is another."""
    start = bytes(data[:8])
    if start[:4] == b"\x01\0\0\0":
        return Protocol.PINECONE
    if len(start) > 1 and start[0] in _TLS_RECORDS and start[1] == 3:
        return Protocol.TLS
    return next((name for name, texts in _TEXTS.items() if start.startswith(texts)), None)
