# SPDX-License-Identifier: Apache-2.0
"""How many descriptors this process may have open."""

import contextlib
import resource

WANTED = 4096
"""All ports of a node taken by WebSockets, which take three each, as many strangers at the door as may stand
there, and the rest come to 1,500; the usual soft limit is 1,024 (see setrlimit(2))."""


def allow_descriptors() -> None:
    """Raise the soft limit to `WANTED`, or as far as the hard one lets us; never lower it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox; the daemon runs with fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
