# SPDX-License-Identifier: Apache-2.0
"""Pictures of this host's sessions for the admin API; keys and addresses are raw bytes."""

from dataclasses import dataclass

MAX_ROWS = 1000
"""Rows that one page has at most."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """One peer. Times are in seconds, ages before now.

    state: "up", "dialling", "failed" (nobody answered a moment ago) or "bare" (in the clear, as listed by the
    operator). in_clear: it is listed, so packets are believed that come in the clear, also while the state is
    "up". public_key: None while only the address is known. path: "tree" while the peer's coords are known,
    else "snake". sessions: how many are there, those included that a newer one has replaced. waiting: packets
    that wait for a handshake. The counts are those since the first of the sessions that followed one another,
    and of everything in the clear; a super-packet is one packet.
    """

    state: str
    address: bytes
    public_key: bytes | None
    path: str
    in_clear: bool = False
    cipher: str | None = None
    hybrid: bool = False
    initiator: bool = False
    sessions: int = 0
    waiting: int = 0
    age_seconds: float = 0.0
    key_age_seconds: float = 0.0
    last_heard_seconds: float | None = None
    rtt_seconds: float | None = None
    tx_packets: int = 0
    rx_packets: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    drops: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Peers in the order of addresses; `next_cursor` is the address to go on after, None at the end."""

    sessions: list[SessionSnapshot]
    total: int
    next_cursor: bytes | None
