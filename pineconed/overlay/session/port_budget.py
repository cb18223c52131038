# SPDX-License-Identifier: Apache-2.0
"""How many handshakes strangers may cost us, shared evenly among the peerings that they come by."""

HANDSHAKE_RATE = 200.0
"""Handshakes a second."""

_ACTIVE = 1.0
"""Seconds for which a port that asked counts as one that asks."""


class _Port:
    __slots__ = ("asked_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.asked_at = now


class PortBudget:
    """A rate, divided evenly among the ports that asked within the last second.

    By port and not by source key, because a key can be invented and a port cannot. A port may use the share
    of one second at once.
    """

    def __init__(self, rate: float = HANDSHAKE_RATE) -> None:
        self._rate = rate
        self._ports: dict[int, _Port] = {}

    def allow(self, port: int, now: float) -> bool:
        """Whether one more may come by `port`; `now` in seconds."""
        asking = self._ports.get(port)
        if asking is None:
            self._forget_quiet(now)
            asking = self._ports[port] = _Port(self._rate / (len(self._ports) + 1), now)
        share = self._rate / len(self._ports)
        asking.tokens = min(share, asking.tokens + (now - asking.asked_at) * share)
        asking.asked_at = now
        if asking.tokens < 1:
            return False
        asking.tokens -= 1
        return True

    def _forget_quiet(self, now: float) -> None:
        for port in [port for port, asking in self._ports.items() if now - asking.asked_at > _ACTIVE]:
            del self._ports[port]
