# SPDX-License-Identifier: Apache-2.0
"""What waits for each peering: what keeps it alive first, then other protocol frames beside traffic.

Keepalives and tree announcements always go first. Bootstraps and broadcasts get at most half of what is sent
while traffic waits, so that a flood of valid ones does not starve it, and everything when none does. Traffic
waits in a fair queue (`scheduler`).

Nothing ever waits for room: when the traffic of a peering exceeds 1 MiB (128 KiB by Bluetooth), the oldest
frame of the longest flow of its longest ingress is dropped; when all queues together exceed 16 MiB, the
fullest is relieved, so that peers which stopped reading take nothing from the others.
"""

from collections import deque

from pineconed.dataplane.counters import PORTS, Counters, DropCause
from pineconed.dataplane.scheduler import QUANTUM, FairQueue, Frame, Ingress
from pineconed.wire.buffer import Buffer

PEERING_LIMIT = 1 << 20
SLOW_PEERING_LIMIT = 128 << 10
"""Bytes of traffic that wait for one peering, and for one by Bluetooth: two frames of the greatest length."""

TOTAL_LIMIT = 16 << 20
PROTOCOL_LIMIT = 512 << 10
RELIEF = 64 << 10
"""Bytes that are freed at once when all queues together are full, because finding the fullest is costly."""

MAX_ANNOUNCEMENTS = 4
"""Tree announcements that wait for one peering at most."""

_ROOT_KEY = slice(12, 44)
"""Where a tree announcement's frame names its root."""


class QueueBudget:
    """What all queues of a node hold together, in bytes, against one limit."""

    __slots__ = ("_queues", "limit", "used")

    def __init__(self, limit: int = TOTAL_LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self._queues: dict[int, PeerQueue] = {}

    def join(self, queue: "PeerQueue") -> None:
        """Count in a new queue."""
        self._queues[queue.port] = queue

    def leave(self, queue: "PeerQueue") -> None:
        """Count out a queue and what it holds."""
        del self._queues[queue.port]
        self.used -= queue.size

    def relieve(self) -> None:
        """Drop from the fullest queue, again and again, until the limit is kept with some room to spare."""
        target = self.limit - min(RELIEF, self.limit // 4)
        while self.used > target:
            fullest = max(self._queues.values(), key=_fullness)
            if not fullest.relieve(min(RELIEF, self.used - target)):
                return


def _fullness(queue: "PeerQueue") -> tuple[int, int]:
    return queue.size, -queue.port


class PeerQueue(FairQueue):
    """The frames that wait for one peering, and what was sent and dropped by its port.

    `size` and its parts `traffic_size` and `protocol_size` are in bytes.
    """

    __slots__ = (
        "_announcements",
        "_budget",
        "_counters",
        "_lead",
        "_limit",
        "_ready",
        "_routine",
        "port",
        "protocol_size",
    )

    def __init__(
        self,
        port: int,
        budget: QueueBudget,
        counters: Counters,
        ready: set[int],
        limit: int = PEERING_LIMIT,
    ) -> None:
        super().__init__()
        self._limit = limit
        self.port = port
        self.protocol_size = 0
        self._budget = budget
        self._counters = counters
        self._ready = ready
        self._announcements: deque[bytes] = deque()
        self._routine: deque[bytes] = deque()
        # Bytes by which bootstraps and broadcasts lead traffic that waited with them.
        self._lead = 0

    @property
    def size(self) -> int:
        """Bytes that wait in all."""
        return self.protocol_size + self.traffic_size

    @property
    def frames(self) -> int:
        """Frames that wait in all."""
        return len(self._announcements) + len(self._routine) + self.traffic_frames

    # In

    def push_keepalive(self, frame: bytes) -> None:
        """Queue a keepalive, unless something else will go out first anyway."""
        if not self.size:
            self._announcements.append(frame)
            self._count_in(frame)

    def push_announcement(self, frame: bytes) -> None:
        """Queue a tree announcement, always. The last one is taken out if it still waits and is of one root.

        One of another root stays, because without it the peer might see the sequence of a root go down and
        end the peering; but no more than `MAX_ANNOUNCEMENTS` wait. So what is taken out to keep that limit
        takes the one before it along if that is of the new one's root.
        """
        waiting = self._announcements
        if len(waiting) == MAX_ANNOUNCEMENTS and waiting[-1][_ROOT_KEY] != frame[_ROOT_KEY]:
            self._count_out(waiting.pop())
        if waiting and waiting[-1][_ROOT_KEY] == frame[_ROOT_KEY]:
            self._count_out(waiting.pop())
        waiting.append(frame)
        self._count_in(frame)

    def push_protocol(self, frame: bytes) -> bool:
        """Queue a bootstrap or broadcast; False (and counted) when there is no room in 512 KiB."""
        if self.protocol_size + len(frame) > PROTOCOL_LIMIT:
            self._counters.drop(DropCause.PROTOCOL_FULL, self.port)
            return False
        self._routine.append(frame)
        self._count_in(frame)
        return True

    def _count_in(self, frame: bytes) -> None:
        self.protocol_size += len(frame)
        self._budget.used += len(frame)
        self._ready.add(self.port)
        if self._budget.used > self._budget.limit:
            self._budget.relieve()

    def _count_out(self, frame: bytes) -> None:
        self.protocol_size -= len(frame)
        self._budget.used -= len(frame)

    def push_traffic(self, frame: Frame, size: int, flow: int, from_port: int) -> None:
        """Queue a traffic frame of `size` bytes as part of `flow`, of which the low 8 bits count.

        `from_port` is where it came from, 0 for this host. Per-packet path. Nothing is copied: the buffers
        must not change until they were sent.
        """
        try:
            ingress = self._ingresses[from_port]
        except KeyError:
            ingress = self._ingresses[from_port] = Ingress(from_port)
            self._fresh.append(ingress)
        flow &= 0xFF
        frames = ingress.flows[flow]
        if frames is None:
            frames = ingress.flows[flow] = deque()
            ingress.deficits[flow] = QUANTUM
            ingress.fresh.append(flow)
        frames.append((size, frame))
        ingress.sizes[flow] += size
        ingress.size += size
        self.traffic_size += size
        budget = self._budget
        budget.used += size
        if self.traffic_size == size:
            self._ready.add(self.port)
        while self.traffic_size > self._limit:
            self._drop_traffic(DropCause.QUEUE_FULL)
        if budget.used > budget.limit:
            budget.relieve()

    # Making room

    def relieve(self, wanted: int) -> bool:
        """Drop frames of at least `wanted` bytes: traffic, then protocol frames; False if there were none."""
        target = self.size - wanted
        if not self._drop_one():
            return False
        while self.size > target and self._drop_one():
            pass
        if not self.size:
            self._ready.discard(self.port)
        return True

    def _drop_one(self) -> bool:
        """Drop a frame of traffic, or the oldest bootstrap or broadcast; announcements stay."""
        if self.traffic_size:
            self._drop_traffic(DropCause.MEMORY_FULL)
        elif self._routine:
            self._count_out(self._routine.popleft())
            self._counters.drop(DropCause.MEMORY_FULL, self.port)
        else:
            return False
        return True

    def _drop_traffic(self, cause: DropCause) -> None:
        self._budget.used -= self._drop_longest()
        self._counters.drop(cause, self.port)

    # Out

    def take(self, budget: int) -> list[Buffer]:
        """Buffers to send next, in order: whole frames of at most `budget` bytes in all, or one frame.

        Small pieces come joined; nothing more of this queue is sent before them.
        """
        pieces: list[Buffer] = []
        taken = self._take_protocol(budget, pieces) if self.protocol_size else 0
        buffers: list[Buffer] = [b"".join(pieces)] if pieces else []
        if self.traffic_size and taken < budget and not self._announcements:
            before = self.traffic_size
            self._counters.tx_frames[self.port] += self._take_traffic(budget, taken, buffers)
            sent = before - self.traffic_size
            self._counters.tx_bytes[self.port] += sent
            self._budget.used -= sent
            if self._lead:
                self._lead = max(0, self._lead - sent)
        if not self.protocol_size and not self.traffic_size:
            self._ready.discard(self.port)
        return buffers

    def _take_protocol(self, budget: int, pieces: list[Buffer]) -> int:
        """Move protocol frames into `pieces`; their bytes.

        While traffic waits, bootstraps and broadcasts leave it half, or more than that as long as they lead.
        One that is longer than the half still goes when they do not.
        """
        shares = self.traffic_size > 0
        taken, lead = 0, self._lead if shares else 0
        while lane := self._announcements or self._routine:
            size = len(lane[0])
            if taken and taken + size > budget:
                break
            if shares and lane is self._routine:
                if lead and lead + size > budget // 2:
                    break
                lead += size
            taken += size
            pieces.append(lane.popleft())
        self._lead = lead
        self.protocol_size -= taken
        self._budget.used -= taken
        self._counters.tx_protocol_frames[self.port] += len(pieces)
        self._counters.tx_protocol_bytes[self.port] += taken
        return taken


class Queues:
    """The queues of all peerings by port, and what was counted of them."""

    def __init__(self, budget: QueueBudget | None = None, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self.by_port: list[PeerQueue | None] = [None] * PORTS
        """For the per-packet path; indexed by port, None where a port is free."""
        self._budget = budget or QueueBudget()
        self._ready: set[int] = set()

    def add(self, port: int, limit: int = PEERING_LIMIT) -> PeerQueue:
        """An empty queue for the peering that took `port`; what is counted of the port begins anew.

        `limit`: bytes of traffic that may wait.

        ValueError if the port has a queue.
        """
        if self.by_port[port] is not None:
            raise ValueError(f"port {port} has a queue already")
        queue = self.by_port[port] = PeerQueue(port, self._budget, self.counters, self._ready, limit)
        self._budget.join(queue)
        self.counters.reset_port(port)
        return queue

    def remove(self, port: int) -> None:
        """Forget the queue of `port` and count what waits in it as dropped; KeyError if there is none."""
        queue = self[port]
        self.counters.drop(DropCause.PEERING_ENDED, port, queue.frames)
        self._budget.leave(queue)
        self.by_port[port] = None
        self._ready.discard(port)

    def __getitem__(self, port: int) -> PeerQueue:
        """The queue of `port`; KeyError if there is none."""
        queue = self.by_port[port]
        if queue is None:
            raise KeyError(port)
        return queue

    def ready(self) -> list[int]:
        """The ports whose queues hold something, ascending."""
        return sorted(self._ready)
