# SPDX-License-Identifier: Apache-2.0
"""What happens to the sessions of this host, for the log and the admin API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The first session with a peer was proven; renewals are not told. `cipher` is its name."""

    public_key: bytes
    cipher: str
    initiator: bool


@dataclass(frozen=True, slots=True)
class SessionDown:
    """The last session with a peer is gone."""

    public_key: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """No session came up with the node that has this address."""

    address: bytes


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """A handshake message was dropped; told once a minute at most. The key is a claim."""

    source_key: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class EchoAnswered:
    """A ping came back after so many seconds."""

    public_key: bytes
    data: bytes
    seconds: float


OverlayEvent = SessionUp | SessionDown | DialFailed | HandshakeRefused | EchoAnswered
