# SPDX-License-Identifier: Apache-2.0
"""The traffic that waits for one peering, served fairly: first by ingress, then by flow.

An *ingress* is the port that frames came in by, 0 for this host. Who forges addresses can spread frames over
all flows, but not over peerings that are another's. So the ingresses share the peering evenly, and the flows
of an ingress share what it gets. Both go by deficit round robin in the manner of RFC 8290: who was empty goes
first once, so that a ping passes a bulk transfer. When there is no room, the longest ingress pays with the
oldest frame of its longest flow.
"""

from collections import deque
from operator import attrgetter

from pineconed.wire.buffer import Buffer

Frame = Buffer | tuple[Buffer, ...]
"""A whole frame, or its pieces in order."""

FLOWS = 256
QUANTUM = 8192
"""Bytes that an ingress or a flow may send in its turn; more than that comes out of its next turns."""

JOIN_LIMIT = 2048
"""Pieces shorter than this are joined: to copy them costs less than a buffer more in the system call."""

MAX_BUFFERS = 512
"""Buffers that `take` hands out at most; the system takes 1,024."""


class Ingress:
    """The flows that came in by one port.

    Flows that were empty until lately are `fresh`, the others in their `rounds`; each has its bytes and those
    that it may still send in its turn. A flow in neither has no deque: 256 empty ones would take 190 KB.
    """

    __slots__ = ("deficit", "deficits", "flows", "fresh", "longest", "port", "rounds", "size", "sizes")

    def __init__(self, port: int) -> None:
        self.port = port
        self.size = 0
        self.deficit = QUANTUM
        self.flows: list[deque[tuple[int, Frame]] | None] = [None] * FLOWS
        self.sizes = [0] * FLOWS
        self.deficits = [0] * FLOWS
        self.fresh: deque[int] = deque()
        self.rounds: deque[int] = deque()
        self.longest = 0
        """The longest flow when it was last looked for."""


_size = attrgetter("size")


class FairQueue:
    """The traffic that waits for one peering.

    Ingresses are `fresh` or in their `rounds` as flows are. Those that ran dry are forgotten, but the last
    one stays, fresh: while it is alone it serves its flows without taking turns.
    """

    __slots__ = ("_fresh", "_ingresses", "_longest", "_rounds", "traffic_size")

    def __init__(self) -> None:
        self.traffic_size = 0
        """Bytes of traffic that wait."""
        self._ingresses: dict[int, Ingress] = {}
        self._fresh: deque[Ingress] = deque()
        self._rounds: deque[Ingress] = deque()
        self._longest: Ingress | None = None

    @property
    def traffic_frames(self) -> int:
        """Frames of traffic that wait."""
        return sum(len(flow) for ingress in self._ingresses.values() for flow in ingress.flows if flow)

    def _drop_longest(self) -> int:
        """Drop the oldest frame of the longest flow of the longest ingress; its size.

        To find the longest is costly, but one that holds more than half is known again.
        """
        ingress = self._longest
        if ingress is None or 2 * ingress.size <= self.traffic_size:
            ingress = self._longest = max(self._ingresses.values(), key=_size)
        sizes = ingress.sizes
        if 2 * sizes[ingress.longest] <= ingress.size:
            ingress.longest = sizes.index(max(sizes))
        frames = ingress.flows[ingress.longest]
        assert frames  # noqa: S101  (its size is above 0)
        size, _ = frames.popleft()
        sizes[ingress.longest] -= size
        ingress.size -= size
        self.traffic_size -= size
        return size

    def _take_traffic(self, budget: int, taken: int, buffers: list[Buffer]) -> int:
        """Move frames into `buffers`, which hold `taken` bytes already, up to `budget`; their number.

        Per-packet path. An ingress has its turn until it has sent what it may or ran dry, and so has each of
        its flows in that turn. Who is alone owes nothing to others. Who ran dry leaves, but a fresh one goes
        to the rounds if there are others, lest it be fresh again at once.
        """
        total, count, full = taken + self.traffic_size, 0, False
        small: list[Buffer] = []
        while not full and (taken < total or self._rounds):
            ingress = (self._fresh or self._rounds)[0]
            flows, sizes, deficits = ingress.flows, ingress.sizes, ingress.deficits
            fresh, rounds = ingress.fresh, ingress.rounds
            alone = len(self._ingresses) == 1
            start, end = taken, total if alone else taken + ingress.deficit
            while fresh or rounds:
                lane = fresh or rounds
                flow = lane[0]
                frames = flows[flow]
                flow_start, flow_end = taken, taken + deficits[flow]
                while frames and taken < flow_end and taken < end:
                    size, frame = frames[0]
                    if (taken and taken + size > budget) or len(buffers) >= MAX_BUFFERS:
                        full = True
                        break
                    frames.popleft()
                    taken += size
                    count += 1
                    if size < JOIN_LIMIT:
                        small += frame if isinstance(frame, tuple) else (frame,)
                        continue
                    for piece in frame if isinstance(frame, tuple) else (frame,):
                        if len(piece) < JOIN_LIMIT:
                            small.append(piece)
                            continue
                        if small:
                            buffers.append(small[0] if len(small) == 1 else b"".join(small))
                            small = []
                        buffers.append(piece)
                sizes[flow] -= taken - flow_start
                deficits[flow] = left = flow_end - taken
                if frames and left > 0:
                    break
                lane.popleft()
                if frames:
                    deficits[flow] = left + QUANTUM if fresh or rounds else QUANTUM
                    rounds.append(flow)
                elif lane is fresh and rounds:
                    rounds.append(flow)
                else:
                    flows[flow] = None
            ingress.size -= taken - start
            if not alone:
                ingress.deficit -= taken - start
            if (self._fresh if ingress.size else self._rounds) if alone else not full:
                self._end_turn(alone)
        if small:
            buffers.append(b"".join(small))
        self.traffic_size = total - taken
        return count

    def _end_turn(self, alone: bool) -> None:
        """Let the next ingress have its turn."""
        lane = self._fresh or self._rounds
        ingress = lane.popleft()
        if alone:
            ingress.deficit = QUANTUM
            (self._rounds if ingress.size else self._fresh).append(ingress)
        elif ingress.size:
            ingress.deficit += QUANTUM
            self._rounds.append(ingress)
        elif lane is self._fresh and self._rounds:
            self._rounds.append(ingress)
        else:
            del self._ingresses[ingress.port]
