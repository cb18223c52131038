# SPDX-License-Identifier: Apache-2.0
"""How many handshakes strangers may cost us, shared evenly among the peerings that they come by."""

HANDSHAKE_RATE = 200.0
"""Handshakes a second."""

_ACTIVE = 1.0
"""Seconds for which a port that asked counts as one that asks."""

_ROUNDING = 1e-6
"""Of a token: whoever waited exactly as long as told may have it."""


class _Port:
    __slots__ = ("asked_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.asked_at = now


class PortBudget:
    """A rate, divided evenly among the ports that asked within the last second.

    By port and not by source key, because a key can be invented and a port cannot. A port may use the share
    of one second at once. Times are in seconds.
    """

    def __init__(self, rate: float = HANDSHAKE_RATE) -> None:
        self._rate = rate
        self._ports: dict[int, _Port] = {}
        self._looked_at = 0.0

    def __len__(self) -> int:
        """The number of ports that share it."""
        return len(self._ports)

    def allow(self, port: int, now: float) -> bool:
        """Whether one more may come by `port`."""
        if now - self._looked_at > _ACTIVE or port not in self._ports:
            self._forget_quiet(now)
        asking = self._ports.get(port)
        if asking is None:
            asking = self._ports[port] = _Port(max(1.0, self._rate / (len(self._ports) + 1)), now)
        share = self._rate / len(self._ports)
        asking.tokens = min(max(1.0, share), asking.tokens + (now - asking.asked_at) * share)
        asking.asked_at = now
        if asking.tokens < 1 - _ROUNDING:
            return False
        asking.tokens -= 1
        return True

    def ready_at(self, port: int) -> float:
        """When one more may come by a port that has asked, as far as can be told."""
        asking = self._ports.get(port)
        if asking is None:
            return 0.0
        return asking.asked_at + max(0.0, 1 - asking.tokens) * len(self._ports) / self._rate

    def _forget_quiet(self, now: float) -> None:
        self._looked_at = now
        for port in [port for port, asking in self._ports.items() if now - asking.asked_at > _ACTIVE]:
            del self._ports[port]
