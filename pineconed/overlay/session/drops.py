# SPDX-License-Identifier: Apache-2.0
"""Why something of a session went no further."""

from enum import StrEnum


class SessionDrop(StrEnum):
    """The value is the name that operators see."""

    PAYLOAD_UNKNOWN = "payload_unknown"
    """A frame whose payload is nothing that we know."""
    PAYLOAD_QUIC = "payload_quic"
    """A payload of the reference's own sessions."""
    BARE_NOT_LISTED = "bare_not_listed"
    """A bare IPv6 packet from a node that is not listed for it."""
    MESSAGE_MALFORMED = "message_malformed"
    MESSAGE_UNKNOWN = "message_unknown"
    """A session message of a type that does not exist."""

    INIT_OVER_BUDGET = "init_over_budget"
    INIT_REFUSED = "init_refused"
    INIT_REPEATED = "init_repeated"
    """The same again, sooner than it is answered once more."""
    RESPONSE_UNEXPECTED = "response_unexpected"
    """There is no attempt that it belongs to, or it was answered already."""
    RESPONSE_FOREIGN_KEY = "response_foreign_key"
    """Not from the node that was dialled."""
    RESPONSE_OVER_BUDGET = "response_over_budget"
    """More came at once than are tried."""
    RESPONSE_REFUSED = "response_refused"
    CONFIRM_UNEXPECTED = "confirm_unexpected"
    CONFIRM_FOREIGN_KEY = "confirm_foreign_key"
    CONFIRM_REFUSED = "confirm_refused"
    REKEY_REFUSED = "rekey_refused"
    """A rekey message that did not fit, or more of them than anyone needs."""
    HALF_OPEN_EVICTED = "half_open_evicted"
    """A handshake that waited for CONFIRM made room for another."""
    SESSION_EVICTED = "session_evicted"

    DATA_UNKNOWN = "data_unknown"
    """For no session and no handshake of ours."""
    DATA_FOREIGN_KEY = "data_foreign_key"
    """The frame names another source than the session's peer."""
    DATA_EXPIRED = "data_expired"
    DATA_REPLAYED = "data_replayed"
    """Received before, or too old to tell."""
    DATA_FORGED = "data_forged"
    """The tag does not fit."""
    HINT_IGNORED = "hint_ignored"
    """UNKNOWN about nothing that we sent lately, or too many of them."""

    PLAINTEXT_UNKNOWN = "plaintext_unknown"
    PLAINTEXT_MALFORMED = "plaintext_malformed"
    """A batch or super-packet from the peer that does not add up."""
    ECHO_UNEXPECTED = "echo_unexpected"
    """An echo reply that was not asked for, or came too late or twice."""
    IN_FOREIGN_SOURCE = "in_foreign_source"
    """The source of a packet is not the address of the peer that sent it."""
    IN_FOREIGN_DESTINATION = "in_foreign_destination"
    """The destination of a packet is not our address."""

    OUT_WAITING_FULL = "out_waiting_full"
    """Too many packets wait for a handshake."""
    OUT_UNREACHABLE = "out_unreachable"
    """No session came up."""


class Drops:
    """Drops of all sessions since the start, by cause."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = dict.fromkeys(SessionDrop, 0)

    def count(self, cause: SessionDrop, number: int = 1) -> None:
        """Count so many more."""
        self.counts[cause] += number
