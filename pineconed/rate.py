# SPDX-License-Identifier: Apache-2.0
"""A limit on how much of something may happen in a time."""

ROUNDING = 1e-6
"""Seconds of wait that only rounding leaves: whoever waited exactly as long as told may spend."""


class TokenBucket:
    """Lets `rate` of something a second pass, and up to `burst` at once after a quiet time.

    It is full at first, unless it is said what it holds at the moment `now`.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, tokens: float | None = None, now: float = 0.0) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst if tokens is None else tokens
        self._updated = now

    def spend(self, amount: float, now: float) -> float:
        """Spend, and return 0; or spend nothing, and return how many seconds to wait for enough.

        `now` is in seconds of a clock that starts at 0 or later.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        wait = (amount - self._tokens) / self._rate
        if wait > ROUNDING:
            return wait
        self._tokens -= amount
        return 0.0

    def give_back(self, amount: float) -> None:
        """Undo a `spend`."""
        self._tokens += amount
