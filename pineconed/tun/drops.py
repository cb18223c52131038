# SPDX-License-Identifier: Apache-2.0
"""Why a packet got lost between this node and its host."""

from enum import StrEnum


class TunDrop(StrEnum):
    """The value is the name that operators see."""

    TUN_ABSENT = "tun_absent"
    """For this host, which has no TUN device."""
    TUN_REFUSED = "tun_refused"
    """For this host, but the kernel did not take it: malformed, or the interface is down."""
    TUN_OFFLOAD_UNKNOWN = "tun_offload_unknown"
    """From this host: a super-packet of a kind that nobody asked the kernel for."""
