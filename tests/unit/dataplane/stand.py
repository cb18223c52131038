# SPDX-License-Identifier: Apache-2.0
"""A forwarder on a test stand: a situation, frames in, and what comes out of its queues."""

from dataclasses import dataclass

from pineconed.dataplane.counters import Counters
from pineconed.dataplane.forward import Forwarder
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, decode_frame, encode_frame
from pineconed.wire.watermark import FULL, Watermark
from tests.unit.dataplane.oracle import OracleAnnouncement, OracleEntry, OracleNode, OraclePeer
from tests.unit.dataplane.situations import NOW, as_table

OWN = b"\x50" + bytes(range(1, 32))
OWN_PREFIX = OWN[:15] + bytes(17)
ROOT = b"\xf0" * 32
ABOVE, BELOW = b"\x60" * 32, b"\x40" * 32
SOURCE = b"\x11" * 32


@dataclass
class Stand:
    """A forwarder with its table, queues and counters."""

    table: ForwardingTable
    queues: Queues
    forwarder: Forwarder

    @classmethod
    def of(cls, node: OracleNode) -> "Stand":
        table, queues = as_table(node), Queues()
        for port in node.peers:
            queues.add(port)
        return cls(table, queues, Forwarder(table, queues, node.own_key, flow_key=b"k"))

    @property
    def counters(self) -> Counters:
        return self.queues.counters

    def forward(self, frame: TrafficFrame | bytes, from_port: int = 1, now: float = NOW) -> None:
        encoded = encode_frame(frame) if isinstance(frame, TrafficFrame) else frame
        self.forwarder.forward(memoryview(encoded), from_port, now)

    def sent(self) -> dict[int, list[TrafficFrame]]:
        """What waits by port, one take a frame."""
        return {
            port: [decoded(self.queues[port].take(1)) for _ in range(self.queues[port].frames)]
            for port in self.queues.ready()
        }

    def drops(self, port: int = 1) -> dict[str, int]:
        return self.counters.drops_at(port)


def decoded(buffers: list[Buffer]) -> TrafficFrame:
    frame = decode_frame(b"".join(buffers))
    assert isinstance(frame, TrafficFrame)
    return frame


def child_of_the_root() -> OracleNode:
    """At (3,): port 2 is the root and parent, port 1 a neighbour at (1,), port 4 a child."""

    def announcement(order: int, *hops: tuple[int, bytes]) -> OracleAnnouncement:
        return OracleAnnouncement((ROOT, 1), hops, order)

    return OracleNode(
        OWN,
        (ROOT, 1),
        coords=(3,),
        parent=2,
        peers={
            1: OraclePeer(ABOVE, 3, True, announcement(1, (1, ROOT), (9, ABOVE))),
            2: OraclePeer(ROOT, 3, True, announcement(2, (3, ROOT))),
            4: OraclePeer(BELOW, 3, True, announcement(3, (3, ROOT), (4, OWN), (2, BELOW))),
        },
        entries=[OracleEntry(BELOW, 77, 4, NOW)],
    )


def traffic(
    destination: Coords = (),
    destination_key: bytes = BELOW,
    watermark: Watermark = FULL,
    payload: bytes = b"data",
) -> TrafficFrame:
    return TrafficFrame(
        destination, (1, 200), destination_key, SOURCE, watermark, payload, extra=5, hop_limit=9, version=7
    )
