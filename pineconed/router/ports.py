# SPDX-License-Identifier: Apache-2.0
"""Port numbers: which one a new peering gets (protocol section 2)."""

from collections.abc import Collection

FIRST_PORT = 1
LAST_PORT = 253

RESERVED_PORTS = 16
"""Ports kept for configured peers; one for each of them when there are more."""


class PortAllocator:
    """Hands out the lowest free port and keeps some for the peers that the operator named."""

    def __init__(self) -> None:
        self._configured: dict[int, bool] = {}
        self.refused = 0

    def allocate(self, configured: bool, configured_peers: int = 0) -> int | None:
        """Take the lowest free port, or None where there is none for this kind of peering.

        Strangers may hold all ports but `max(RESERVED_PORTS, configured_peers)`.
        """
        strangers = sum(not kept for kept in self._configured.values())
        open_to_strangers = LAST_PORT - min(LAST_PORT - 1, max(RESERVED_PORTS, configured_peers))
        port = _lowest_free(self._configured)
        if port is None or (not configured and strangers >= open_to_strangers):
            self.refused += 1
            return None
        self._configured[port] = configured
        return port

    def release(self, port: int) -> None:
        """Give a port back."""
        del self._configured[port]

    def __len__(self) -> int:
        return len(self._configured)


def _lowest_free(taken: Collection[int]) -> int | None:
    return next((port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in taken), None)
