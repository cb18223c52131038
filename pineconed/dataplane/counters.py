# SPDX-License-Identifier: Apache-2.0
"""What was received, sent and dropped, by port: plain lists, because every frame writes to them."""

from enum import StrEnum

PORTS = 256
"""Length of a list indexed by port: 0 is the local node, peerings have 1 to 253."""


class DropCause(StrEnum):
    """Why a frame went no further; the value is the name that operators see.

    Causes found while forwarding are counted at the port by which the frame came (0: our own frames), those
    of a queue at the port that it leads to.
    """

    NO_ROUTE = "no_route"
    """No node known is closer to the destination, and the frame is not for us."""
    SENT_BACK = "sent_back"
    """The next hop is the peering by which the frame came."""
    WORSE_WATERMARK = "worse_watermark"
    """The next hop would lead away from the destination."""
    TOO_LONG = "too_long"
    """With its new watermark the frame would exceed 65535 bytes; an own frame that does not fit at all."""
    NO_QUEUE = "no_queue"
    """The next hop's peering has ended."""
    QUEUE_FULL = "queue_full"
    """A frame of the longest flow of the longest ingress made room in a full peering queue."""
    MEMORY_FULL = "memory_full"
    """The same, because the queues of all peerings together are full."""
    PROTOCOL_FULL = "protocol_full"
    """A bootstrap or broadcast found the protocol queue full."""
    PEERING_ENDED = "peering_ended"
    """Was still queued when the peering ended."""


class Counters:
    """Traffic and drops by port since the port was last taken, and drops in all since the start.

    The lists are indexed by port. `rx_*` count traffic frames and their bytes as received, `tx_*` as handed
    to the transport; `tx_protocol_*` count everything else that was sent. The per-packet code writes them
    directly, others only read.
    """

    __slots__ = (
        "_drops",
        "_drops_before",
        "rx_bytes",
        "rx_frames",
        "tx_bytes",
        "tx_frames",
        "tx_protocol_bytes",
        "tx_protocol_frames",
    )

    def __init__(self) -> None:
        self.rx_frames = [0] * PORTS
        self.rx_bytes = [0] * PORTS
        self.tx_frames = [0] * PORTS
        self.tx_bytes = [0] * PORTS
        self.tx_protocol_frames = [0] * PORTS
        self.tx_protocol_bytes = [0] * PORTS
        self._drops = {cause: [0] * PORTS for cause in DropCause}
        self._drops_before = dict.fromkeys(DropCause, 0)

    def drop(self, cause: DropCause, port: int, frames: int = 1) -> None:
        """Count `frames` dropped frames."""
        self._drops[cause][port] += frames

    def drops_at(self, port: int) -> dict[str, int]:
        """Dropped frames of one port by cause; causes that never happened are left out."""
        return {cause.value: by_port[port] for cause, by_port in self._drops.items() if by_port[port]}

    def drops(self) -> dict[str, int]:
        """Dropped frames of all ports since the start, every cause named."""
        return {
            cause.value: sum(by_port) + self._drops_before[cause] for cause, by_port in self._drops.items()
        }

    def reset_port(self, port: int) -> None:
        """Begin anew for a peering that takes `port`; the drops in all keep what was counted."""
        for by_port in self._traffic():
            by_port[port] = 0
        for cause, by_port in self._drops.items():
            self._drops_before[cause] += by_port[port]
            by_port[port] = 0

    def _traffic(self) -> tuple[list[int], ...]:
        return (
            self.rx_frames,
            self.rx_bytes,
            self.tx_frames,
            self.tx_bytes,
            self.tx_protocol_frames,
            self.tx_protocol_bytes,
        )
