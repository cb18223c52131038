# SPDX-License-Identifier: Apache-2.0
"""The moment that every input of the protocol core carries; the core itself never reads a clock."""

from typing import NamedTuple

NEVER = float("inf")
"""When something is due that is not to happen, in seconds; what has not happened yet was at `-NEVER`."""


class Now(NamedTuple):
    """One moment on both scales, read once per turn by whoever drives the core.

    seconds: CLOCK_BOOTTIME in seconds, which counts time asleep; ages and deadlines are on this scale.
    unix_ms: Unix time in milliseconds; only sequence numbers are taken from it.
    """

    seconds: float
    unix_ms: int
