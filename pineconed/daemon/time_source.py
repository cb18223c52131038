# SPDX-License-Identifier: Apache-2.0
"""The one place where the daemon reads the time for the protocol."""

import time

from pineconed.clock import Now


def read_now() -> Now:
    """This moment: seconds that also count time asleep (CLOCK_BOOTTIME), and Unix milliseconds."""
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME), time.time_ns() // 1_000_000)
