# SPDX-License-Identifier: Apache-2.0
"""A limit on how often something may happen."""


class TokenBucket:
    """Lets `rate` events a second pass, and up to `burst` at once after a quiet time."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = 0.0

    def allow(self, now: float) -> bool:
        """Whether one more event may happen at `now`, in seconds."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
