# SPDX-License-Identifier: Apache-2.0
"""Two endpoints over real forwarders that are each other's only peer."""

import pytest

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable, PeerAnnouncement
from pineconed.overlay.endpoint import Endpoint
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, decode_frame
from pineconed.wire.root import Root
from tests.unit.overlay.packets import OWN, OWN_KEY, PEER, PEER_KEY, ipv6, ports

NOW = Now(1000.0, 1_700_000_000_000)
PORT = 1
ROOT = Root(PEER_KEY, 1)
LONGEST_PACKET = 65_535


class Side:
    """One of the two nodes: the root with the peer's key, or its child with ours."""

    def __init__(self, own_key: bytes, peer_key: bytes, own_coords: Coords, peer_coords: Coords) -> None:
        table = ForwardingTable(own_key)
        self.queues = Queues()
        self.queues.add(PORT)
        self.forwarder = Forwarder(table, self.queues, own_key)
        self.endpoint = Endpoint(own_key, self.forwarder, b"secret", LONGEST_PACKET)
        table.set_self(own_coords, ROOT)
        signers = (PEER_KEY, peer_key)[: len(peer_coords) + 1]
        table.set_peer(PORT, peer_key, 3, True, PeerAnnouncement(ROOT, peer_coords, signers, 1))
        table.set_parent(PORT if own_coords else None)

    def send(self, packet: bytes) -> bytes:
        """Hand a packet to the endpoint; the frame that leaves, empty if none does."""
        self.endpoint.outbound([packet], NOW)
        buffers = self.queues[PORT].take(1 << 20)
        return b"".join(buffers)

    def receive(self, frame: bytes) -> list[bytes]:
        """What the endpoint gives out when this frame arrives."""
        self.forwarder.forward(memoryview(frame), PORT, NOW.seconds)
        for source_key, _, payload, _ in self.forwarder.take_local():
            self.endpoint.inbound(source_key, payload)
        return [bytes(packet) for packet in self.endpoint.take_local()]


@pytest.fixture
def child() -> Side:
    return Side(OWN_KEY, PEER_KEY, (7,), ())


@pytest.fixture
def root() -> Side:
    return Side(PEER_KEY, OWN_KEY, (), (7,))


def test_a_packet_and_its_answer(child: Side, root: Side) -> None:
    request, reply = ipv6(OWN, PEER, ports(1000, 22)), ipv6(PEER, OWN, ports(22, 1000))
    assert root.receive(child.send(request)) == [request]
    assert child.receive(root.send(reply)) == [reply]


def test_the_frame_is_the_one_of_the_reference(child: Side) -> None:
    packet = ipv6(OWN, PEER, ports(1000, 22))
    frame = decode_frame(child.send(packet))
    assert isinstance(frame, TrafficFrame)
    assert (frame.version, frame.hop_limit) == (0, 10)
    assert (frame.destination, frame.source) == ((), (7,))
    assert (frame.destination_key, frame.source_key) == (PEER_KEY[:15] + bytes(17), OWN_KEY)
    assert frame.payload == packet


def test_a_forged_source_is_not_delivered(child: Side, root: Side) -> None:
    frame = child.send(ipv6(OWN, PEER, ports(1000, 22)))
    forged = frame.replace(OWN_KEY, bytes(32))
    assert root.receive(forged) == []
    assert root.endpoint.drops()["in_foreign_source"] == 1


def test_a_packet_of_the_size_that_packet_too_big_tells_passes(child: Side, root: Side) -> None:
    assert child.send(ipv6(OWN, PEER, bytes(LONGEST_PACKET - 40))) == b""
    [error] = child.endpoint.take_local()
    assert error[40] == 2
    told = int.from_bytes(error[44:48])
    largest = ipv6(OWN, PEER, bytes(told - 40))
    assert len(largest) == told > 65_000
    assert root.receive(child.send(largest)) == [largest]


def test_nobody_there(child: Side) -> None:
    """Frames for an unknown key go to the closest one above it; above the root there is none."""
    above = b"\xff" * 32
    packet = ipv6(OWN, b"\xfd" + above[:15], ports(1000, 22))
    assert child.send(packet) == b""
    [error] = child.endpoint.take_local()
    assert (error[40], error[41]) == (1, 0)
    assert child.endpoint.drops()["out_no_route"] == 1
