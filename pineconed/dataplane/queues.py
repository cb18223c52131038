# SPDX-License-Identifier: Apache-2.0
"""What waits for each peering: protocol frames first, then a fair queue of traffic.

Traffic is spread over 256 flows and served by deficit round robin in the manner of RFC 8290: a flow that
was empty goes first once, so that a ping passes a bulk transfer. Nothing ever waits for room: when the
traffic of a peering exceeds 1 MiB, the oldest frame of its longest flow is dropped; when all queues together
exceed 16 MiB, the fullest is relieved, so that peers which stopped reading take nothing from the others.
"""

from collections import deque

from pineconed.dataplane.counters import PORTS, Counters, DropCause
from pineconed.wire.buffer import Buffer

Frame = Buffer | tuple[Buffer, ...]
"""A whole frame, or its pieces in order."""

FLOWS = 256
QUANTUM = 8192
"""Bytes that a flow may send in its turn; more than that comes out of its next turns."""

PEERING_LIMIT = 1 << 20
TOTAL_LIMIT = 16 << 20
PROTOCOL_LIMIT = 512 << 10
RELIEF = 64 << 10
"""Bytes that are freed at once when all queues together are full, because finding the fullest is costly."""

JOIN_LIMIT = 2048
"""Pieces shorter than this are joined: to copy them costs less than a buffer more in the system call."""

MAX_ANNOUNCEMENTS = 4
"""Tree announcements that wait for one peering at most."""

_ROOT_KEY = slice(12, 44)
"""Where a tree announcement's frame names its root."""

MAX_BUFFERS = 512
"""Buffers that `take` hands out at most; the system takes 1,024."""


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


class PeerQueue:
    """The frames that wait for one peering, and what was sent and dropped by its port.

    `size` and its parts `traffic_size` and `protocol_size` are in bytes.
    """

    __slots__ = (
        "_announcements",
        "_budget",
        "_counters",
        "_deficits",
        "_flow_sizes",
        "_flows",
        "_fresh",
        "_protocol",
        "_ready",
        "_rounds",
        "port",
        "protocol_size",
        "traffic_size",
    )

    def __init__(self, port: int, budget: QueueBudget, counters: Counters, ready: set[int]) -> None:
        self.port = port
        self.traffic_size = 0
        self.protocol_size = 0
        self._budget = budget
        self._counters = counters
        self._ready = ready
        self._protocol: deque[bytes] = deque()
        self._announcements: list[bytes] = []
        self._flows: list[deque[tuple[int, Frame]] | None] = [None] * FLOWS
        self._flow_sizes = [0] * FLOWS
        # The scheduler: flows that were empty until lately, flows in their rounds, and the bytes that each
        # may still send in its turn. A flow in neither has no deque: 256 empty ones would take 190 KB.
        self._fresh: deque[int] = deque()
        self._rounds: deque[int] = deque()
        self._deficits = [0] * FLOWS

    @property
    def size(self) -> int:
        """Bytes that wait in all."""
        return self.protocol_size + self.traffic_size

    @property
    def frames(self) -> int:
        """Frames that wait in all."""
        return len(self._protocol) + sum(len(frames) for frames in self._flows if frames)

    # In

    def push_protocol(self, frame: bytes) -> bool:
        """Queue a protocol frame; False (and counted) when there is no room in 512 KiB."""
        if self.protocol_size + len(frame) > PROTOCOL_LIMIT:
            self._counters.drop(DropCause.PROTOCOL_FULL, self.port)
            return False
        self._append_protocol(frame)
        return True

    def push_announcement(self, frame: bytes) -> None:
        """Queue a tree announcement, always. The last one is taken out if it still waits and is of one root.

        One of another root stays, because without it the peer might see the sequence of a root go down and
        end the peering; but no more than `MAX_ANNOUNCEMENTS` wait. So what is taken out to keep that limit
        takes the one before it along if that is of the new one's root.
        """
        waiting = self._announcements
        if len(waiting) == MAX_ANNOUNCEMENTS and waiting[-1][_ROOT_KEY] != frame[_ROOT_KEY]:
            self._remove_protocol(waiting.pop())
        if waiting and waiting[-1][_ROOT_KEY] == frame[_ROOT_KEY]:
            self._remove_protocol(waiting.pop())
        waiting.append(frame)
        self._append_protocol(frame)

    def _append_protocol(self, frame: bytes) -> None:
        self._protocol.append(frame)
        self.protocol_size += len(frame)
        self._budget.used += len(frame)
        self._ready.add(self.port)
        if self._budget.used > self._budget.limit:
            self._budget.relieve()

    def _remove_protocol(self, frame: bytes) -> None:
        """Take out this very frame: an equal announcement may wait before another root's."""
        del self._protocol[next(index for index, waiting in enumerate(self._protocol) if waiting is frame)]
        self.protocol_size -= len(frame)
        self._budget.used -= len(frame)

    def push_traffic(self, frame: Frame, size: int, flow: int) -> None:
        """Queue a traffic frame of `size` bytes as part of `flow`, of which the low 8 bits count.

        Per-packet path. Nothing is copied: the buffers must not change until they were sent.
        """
        flow &= 0xFF
        frames = self._flows[flow]
        if frames is None:
            frames = self._flows[flow] = deque()
            self._deficits[flow] = QUANTUM
            self._fresh.append(flow)
        frames.append((size, frame))
        sizes = self._flow_sizes
        sizes[flow] += size
        self.traffic_size += size
        budget = self._budget
        budget.used += size
        self._ready.add(self.port)
        if self.traffic_size > PEERING_LIMIT:
            longest = flow if 2 * sizes[flow] > self.traffic_size else sizes.index(max(sizes))
            self._drop_traffic(longest, DropCause.QUEUE_FULL)
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
        """Drop the oldest frame of the longest flow, or the oldest protocol frame but for announcements."""
        if self.traffic_size:
            sizes = self._flow_sizes
            self._drop_traffic(sizes.index(max(sizes)), DropCause.MEMORY_FULL)
            return True
        oldest = next((frame for frame in self._protocol if frame not in self._announcements), None)
        if oldest is None:
            return False
        self._remove_protocol(oldest)
        self._counters.drop(DropCause.MEMORY_FULL, self.port)
        return True

    def _drop_traffic(self, flow: int, cause: DropCause) -> None:
        frames = self._flows[flow]
        assert frames  # noqa: S101  (its size is above 0)
        size, _ = frames.popleft()
        self._flow_sizes[flow] -= size
        self.traffic_size -= size
        self._budget.used -= size
        self._counters.drop(cause, self.port)

    # Out

    def take(self, budget: int) -> list[Buffer]:
        """Buffers to send next, in order: whole frames of at most `budget` bytes in all, or one frame.

        Small pieces come joined; nothing more of this queue is sent before them.
        """
        pieces: list[Buffer] = []
        taken = self._take_protocol(budget, pieces)
        buffers: list[Buffer] = [b"".join(pieces)] if pieces else []
        if not self._protocol and self.traffic_size and taken < budget:
            self._take_traffic(budget, taken, buffers)
        if not self.protocol_size and not self.traffic_size:
            self._ready.discard(self.port)
        return buffers

    def _take_protocol(self, budget: int, pieces: list[Buffer]) -> int:
        """Move protocol frames into `pieces`; their bytes."""
        taken = 0
        while self._protocol:
            frame = self._protocol[0]
            if taken and taken + len(frame) > budget:
                break
            taken += len(frame)
            pieces.append(frame)
            self._protocol.popleft()
            if self._announcements and frame is self._announcements[0]:
                del self._announcements[0]
        self.protocol_size -= taken
        self._budget.used -= taken
        self._counters.tx_protocol_frames[self.port] += len(pieces)
        self._counters.tx_protocol_bytes[self.port] += taken
        return taken

    def _take_traffic(self, budget: int, taken: int, buffers: list[Buffer]) -> None:
        """Per-packet path: move traffic into `buffers`, which hold `taken` bytes already.

        Fresh flows first, then those in their rounds. A flow sends while its deficit is above 0; then it
        gets a quantum more and goes to the end of the rounds. A fresh flow that ran dry goes there too, lest
        it be fresh again at once; a flow found dry in its rounds leaves them.
        """
        flows, sizes, deficits = self._flows, self._flow_sizes, self._deficits
        fresh, rounds = self._fresh, self._rounds
        before, count = taken, 0
        small: list[Buffer] = []
        while fresh or rounds:
            lane = fresh or rounds
            flow = lane[0]
            frames = flows[flow]
            while frames and deficits[flow] > 0:
                size, frame = frames[0]
                if (taken and taken + size > budget) or len(buffers) >= MAX_BUFFERS:
                    break
                frames.popleft()
                sizes[flow] -= size
                deficits[flow] -= size
                taken += size
                count += 1
                if size < JOIN_LIMIT:
                    if isinstance(frame, tuple):
                        small += frame
                    else:
                        small.append(frame)
                    continue
                for piece in frame if isinstance(frame, tuple) else (frame,):
                    if len(piece) < JOIN_LIMIT:
                        small.append(piece)
                        continue
                    if small:
                        buffers.append(small[0] if len(small) == 1 else b"".join(small))
                        small = []
                    buffers.append(piece)
            else:
                lane.popleft()
                if frames:
                    deficits[flow] += QUANTUM
                    rounds.append(flow)
                elif lane is fresh and rounds:
                    rounds.append(flow)
                else:
                    flows[flow] = None
                continue
            break
        if small:
            buffers.append(b"".join(small))
        self.traffic_size -= taken - before
        self._budget.used -= taken - before
        self._counters.tx_frames[self.port] += count
        self._counters.tx_bytes[self.port] += taken - before


class Queues:
    """The queues of all peerings by port, and what was counted of them."""

    def __init__(self, budget: QueueBudget | None = None, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self.by_port: list[PeerQueue | None] = [None] * PORTS
        """For the per-packet path; indexed by port, None where a port is free."""
        self._budget = budget or QueueBudget()
        self._ready: set[int] = set()

    def add(self, port: int) -> PeerQueue:
        """An empty queue for the peering that took `port`; what is counted of the port begins anew.

        ValueError if the port has a queue.
        """
        if self.by_port[port] is not None:
            raise ValueError(f"port {port} has a queue already")
        queue = self.by_port[port] = PeerQueue(port, self._budget, self.counters, self._ready)
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
