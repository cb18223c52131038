# SPDX-License-Identifier: Apache-2.0
"""Control messages: what DATA holds that is no IPv6 packet, told by its first byte."""

from enum import IntEnum

KEEPALIVE = b""
"""The plaintext that only shows that we are there."""


class Kind(IntEnum):
    """The first byte of a control message."""

    ECHO_REQUEST = 1
    ECHO_REPLY = 2
    CLOSE = 3
    REKEY = 4
    SUPER_PACKET = 5


CLOSING = bytes((Kind.CLOSE,))
"""The plaintext that ends the session that it comes by."""
