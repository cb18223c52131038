# SPDX-License-Identifier: Apache-2.0
"""The ICMPv6 errors with which this host's own packets are answered, each kind limited in its rate."""

from pineconed.overlay.icmpv6 import Unreachable, packet_too_big, unreachable
from pineconed.rate import TokenBucket

ERROR_RATE = 100.0
"""Errors of one kind a second, and at once."""


class ErrorAnswers:
    """Makes the errors, from our address to our address; None where there is to be none. Times in seconds."""

    def __init__(self, own_address: bytes) -> None:
        self._address = own_address
        self._no_route = TokenBucket(ERROR_RATE, ERROR_RATE)
        self._unreachable = TokenBucket(ERROR_RATE, ERROR_RATE)
        self._too_big = TokenBucket(ERROR_RATE, ERROR_RATE)

    def no_route(self, packet: bytes, now: float) -> bytes | None:
        """There is no way to the destination."""
        if self._no_route.spend(1, now):
            return None
        return unreachable(packet, self._address, Unreachable.NO_ROUTE)

    def address_unreachable(self, packet: bytes, now: float) -> bytes | None:
        """The destination does not answer."""
        if self._unreachable.spend(1, now):
            return None
        return unreachable(packet, self._address, Unreachable.ADDRESS)

    def too_big(self, packet: bytes, mtu: int, now: float) -> bytes | None:
        """Only `mtu` bytes get there."""
        return None if self._too_big.spend(1, now) else packet_too_big(packet, self._address, mtu)
