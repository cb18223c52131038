# SPDX-License-Identifier: Apache-2.0
"""Tells that this host was suspended, from two clocks of which one stands still meanwhile."""

import time
from typing import NamedTuple

LEAST = 0.5
"""Seconds; the two clocks are not read at the same moment."""


class Clocks(NamedTuple):
    """Seconds since the host was started, with (`boot`) and without (`awake`) the time asleep."""

    boot: float
    awake: float


def read_clocks() -> Clocks:
    """CLOCK_BOOTTIME and CLOCK_MONOTONIC; setting the time of day moves neither."""
    return Clocks(time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())


class SleepDetector:
    """Compares the clocks each time with the time before."""

    def __init__(self, clocks: Clocks) -> None:
        self._asleep = clocks.boot - clocks.awake

    def slept(self, clocks: Clocks) -> float:
        """Seconds that the host slept since the last call; 0.0 if it did not."""
        asleep = clocks.boot - clocks.awake
        slept, self._asleep = asleep - self._asleep, asleep
        return slept if slept >= LEAST else 0.0
