# SPDX-License-Identifier: Apache-2.0
"""What waits for each peering: protocol frames first, then a fair queue of traffic.

Traffic is spread over 256 flows and served by deficit round robin in the manner of RFC 8290: a flow that
was empty goes first once, so that a ping passes a bulk transfer. Nothing ever waits for room: when a peering
holds more than 1 MiB, or all together more than 16 MiB, the oldest frames of the longest flow are dropped.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, TypeAlias

from pineconed.dataplane.counters import Counters, DropCause

Buffer: TypeAlias = bytes | bytearray | memoryview

FLOWS: Final = 256
QUANTUM: Final = 8192
"""Bytes that a flow may send in its turn; more than that comes out of its next turns."""

PEERING_LIMIT: Final = 1 << 20
TOTAL_LIMIT: Final = 16 << 20
PROTOCOL_LIMIT: Final = 512 << 10
RELIEF: Final = 64 << 10
"""Bytes that are freed at once when all queues together are full, because finding the fullest is costly."""

JOIN_LIMIT: Final = 2048
"""Pieces shorter than this are joined: to copy them costs less than a buffer more in the system call."""

MAX_BUFFERS: Final = 512
"""Buffers that `take` hands out at most; the system takes 1,024."""


class QueueBudget:
    """What all queues of a node hold together, in bytes, against one limit."""

    __slots__ = ("_queues", "limit", "used")

    def __init__(self, limit: int = TOTAL_LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self._queues: dict[int, PeerQueue] = {}

    def join(self, queue: "PeerQueue") -> None:
        """Count a queue in."""
        self._queues[queue.port] = queue

    def leave(self, queue: "PeerQueue") -> None:
        """Count a queue out; it is empty."""
        del self._queues[queue.port]

    def relieve(self) -> None:
        """Drop traffic of the fullest queues until the limit is kept, with some room to spare."""
        target = self.limit - min(RELIEF, self.limit // 4)
        while self.used > target:
            fullest = max(self._queues.values(), key=lambda queue: queue.traffic_size)
            if not fullest.drop_oldest(DropCause.MEMORY_FULL):
                return


class PeerQueue:
    """The frames that wait for one peering. `size` is in bytes, and so is `traffic_size`, its larger part."""

    __slots__ = (
        "_announcement",
        "_budget",
        "_counters",
        "_deficits",
        "_flow_sizes",
        "_flows",
        "_fresh",
        "_protocol",
        "_protocol_size",
        "_ready",
        "_rounds",
        "port",
        "traffic_size",
    )

    def __init__(self, port: int, budget: QueueBudget, counters: Counters, ready: set[int]) -> None:
        self.port: Final = port
        self.traffic_size = 0
        self._budget = budget
        self._counters = counters
        self._ready = ready
        self._protocol: deque[bytes] = deque()
        self._protocol_size = 0
        self._announcement: bytes | None = None
        self._flows: list[deque[tuple[int, Buffer | tuple[Buffer, ...]]]] = [deque() for _ in range(FLOWS)]
        self._flow_sizes = [0] * FLOWS
        self._deficits = [0] * FLOWS
        self._fresh: deque[int] = deque()
        self._rounds: deque[int] = deque()

    @property
    def size(self) -> int:
        """Bytes that wait in all."""
        return self._protocol_size + self.traffic_size

    @property
    def announcement_queued(self) -> bool:
        """Whether the last tree announcement still waits, so that the next will take its place."""
        return self._announcement is not None

    @property
    def drops(self) -> dict[str, int]:
        """Dropped frames by cause: those of this queue and those that came by its port."""
        return self._counters.drops_at(self.port)

    # In

    def push_protocol(self, frame: bytes) -> bool:
        """Queue a protocol frame; False (and counted) when they hold 512 KiB already."""

    def push_announcement(self, frame: bytes) -> None:
        """Queue a tree announcement, always; one that still waits is taken out: the peer never sees it."""

    def push_traffic(self, frame: Buffer | tuple[Buffer, ...], size: int, flow: int) -> None:
        """Queue a traffic frame of `size` bytes, whole or in pieces, as part of `flow` (its low 8 bits)."""

    def drop_oldest(self, cause: DropCause) -> bool:
        """Drop the oldest frame of the longest flow; False if there is no traffic."""

    # Out

    def take(self, budget: int) -> list[Buffer]:
        """Buffers to send next, in order: whole frames of at most `budget` bytes in all, or one frame."""


class Queues:
    """The queues of all peerings by port, what is ready to be sent, and what was counted."""

    def __init__(self, budget: QueueBudget | None = None, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self._budget = budget or QueueBudget()
        self._by_port: list[PeerQueue | None] = [None] * 256
        self._ready: set[int] = set()

    def add(self, port: int) -> PeerQueue:
        """An empty queue for the peering that took `port`; its counters begin anew."""

    def remove(self, port: int) -> None:
        """Forget the queue of `port` and all that waits in it."""

    def __getitem__(self, port: int) -> PeerQueue:
        """The queue of `port`; KeyError if the port is free."""

    def get(self, port: int) -> PeerQueue | None:
        """The queue of `port`, None if the port is free."""
        return self._by_port[port]

    def ready(self) -> list[int]:
        """The ports whose queues hold something, ascending."""
        return sorted(self._ready)
