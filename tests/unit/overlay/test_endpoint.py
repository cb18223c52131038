# SPDX-License-Identifier: Apache-2.0
"""The endpoint: what the TUN device gives and gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.overlay.endpoint import Endpoint
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords
from tests.unit.overlay.packets import (
    ICMPV6,
    MULTICAST,
    OUTSIDE,
    OWN,
    OWN_KEY,
    PEER,
    PEER_KEY,
    TCP,
    ipv6,
    ports,
)

NOW = Now(1000.0, 1_700_000_000_000)
MTU = 65_000
PACKET = ipv6(OWN, PEER, ports(1000, 22, b"hello"), TCP)
STRANGER = bytes([0xFD]) + bytes(15)


class RecordingForwarder(Forwarder):
    """Notes what is sent, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(ForwardingTable(OWN_KEY), Queues(), OWN_KEY)
        self.result = SendResult.QUEUED
        self.limit = 65_413
        self.sent: list[tuple[bytes, Coords | None, Buffer | tuple[Buffer, ...], int, int, float]] = []

    def send(
        self,
        destination_key: bytes,
        destination_coords: Coords | None,
        payload: Buffer | tuple[Buffer, ...],
        flow: int,
        extra: int,
        now: float,
    ) -> SendResult:
        self.sent.append((destination_key, destination_coords, payload, flow, extra, now))
        return self.result

    def payload_limit(self) -> int:
        return self.limit


@pytest.fixture
def forwarder() -> RecordingForwarder:
    return RecordingForwarder()


@pytest.fixture
def endpoint(forwarder: RecordingForwarder) -> Endpoint:
    return Endpoint(OWN_KEY, forwarder, b"sixteen secret b", MTU)


def _counted(endpoint: Endpoint) -> dict[str, int]:
    return {cause: count for cause, count in endpoint.drops().items() if count}


# Outbound


def test_a_packet_goes_to_the_key_that_its_destination_shows(
    endpoint: Endpoint, forwarder: RecordingForwarder
) -> None:
    endpoint.outbound([PACKET], NOW)
    [(destination_key, coords, payload, flow, extra, now)] = forwarder.sent
    assert destination_key == PEER_KEY[:15] + bytes(17)
    assert coords is None
    assert payload is PACKET
    assert 0 <= flow <= 255
    assert 0 <= extra <= 255
    assert now == NOW.seconds
    assert endpoint.take_local() == []
    assert _counted(endpoint) == {}


def test_packets_keep_their_order_and_their_flow(endpoint: Endpoint, forwarder: RecordingForwarder) -> None:
    other = ipv6(OWN, PEER, ports(1000, 23), TCP)
    endpoint.outbound([PACKET, other, PACKET], NOW)
    assert [sent[2] for sent in forwarder.sent] == [PACKET, other, PACKET]
    flows = [sent[3:5] for sent in forwarder.sent]
    assert flows[0] == flows[2] != flows[1]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        PACKET[:39],
        PACKET[:-1],
        PACKET + b"!",
        b"\x45" + PACKET[1:],
        ipv6(OWN, PEER)[:4] + b"\x00\x01" + ipv6(OWN, PEER)[6:],
    ],
    ids=["empty", "short", "cut", "longer", "IPv4", "longer than it is"],
)
def test_what_is_no_ipv6_packet_is_dropped(
    endpoint: Endpoint, forwarder: RecordingForwarder, packet: bytes
) -> None:
    endpoint.outbound([packet, PACKET], NOW)
    assert len(forwarder.sent) == 1
    assert _counted(endpoint) == {"out_malformed": 1}
    assert endpoint.take_local() == []


@pytest.mark.parametrize(
    ("source", "destination", "cause"),
    [
        (STRANGER, PEER, "out_foreign_source"),
        (PEER, OWN, "out_foreign_source"),
        (STRANGER, OUTSIDE, "out_foreign_source"),
        (bytes(16), MULTICAST, "out_multicast"),
        (OWN, MULTICAST, "out_multicast"),
        (OWN, OWN, "out_to_self"),
    ],
)
def test_dropped_in_silence(
    endpoint: Endpoint, forwarder: RecordingForwarder, source: bytes, destination: bytes, cause: str
) -> None:
    endpoint.outbound([ipv6(source, destination, ports(1, 2))], NOW)
    assert forwarder.sent == []
    assert endpoint.take_local() == []
    assert _counted(endpoint) == {cause: 1}


def test_no_route_to_an_address_outside_the_overlay(
    endpoint: Endpoint, forwarder: RecordingForwarder
) -> None:
    packet = ipv6(OWN, OUTSIDE, ports(1, 2))
    endpoint.outbound([packet], NOW)
    assert forwarder.sent == []
    assert _counted(endpoint) == {"out_not_overlay": 1}
    _is_error(endpoint, packet, error_type=1, code=0)


def _is_error(endpoint: Endpoint, about: bytes, error_type: int, code: int, parameter: int = 0) -> None:
    """What the TUN device gets is one error from and to our own address."""
    [error] = endpoint.take_local()
    assert bytes(error[8:40]) == OWN + OWN
    assert (error[40], error[41]) == (error_type, code)
    assert int.from_bytes(error[44:48]) == parameter
    assert about.startswith(error[48:])
    assert endpoint.take_local() == []


def test_no_route_by_the_forwarder(endpoint: Endpoint, forwarder: RecordingForwarder) -> None:
    forwarder.result = SendResult.NO_ROUTE
    endpoint.outbound([PACKET], NOW)
    assert _counted(endpoint) == {"out_no_route": 1}
    _is_error(endpoint, PACKET, error_type=1, code=0)


@pytest.mark.parametrize(("limit", "told"), [(65_413, MTU), (64_000, 64_000), (600, 1280)])
def test_too_big_for_a_frame(
    endpoint: Endpoint, forwarder: RecordingForwarder, limit: int, told: int
) -> None:
    forwarder.result = SendResult.TOO_BIG
    forwarder.limit = limit
    endpoint.outbound([PACKET], NOW)
    assert _counted(endpoint) == {"out_too_big": 1}
    _is_error(endpoint, PACKET, error_type=2, code=0, parameter=told)


def test_too_big_for_the_device(endpoint: Endpoint, forwarder: RecordingForwarder) -> None:
    fits, too_big = ipv6(OWN, PEER, bytes(MTU - 40)), ipv6(OWN, PEER, bytes(MTU - 39))
    endpoint.outbound([fits, too_big], NOW)
    assert [sent[2] for sent in forwarder.sent] == [fits]
    assert _counted(endpoint) == {"out_too_big": 1}
    _is_error(endpoint, too_big, error_type=2, code=0, parameter=MTU)


@pytest.mark.parametrize("result", [SendResult.NO_ROUTE, SendResult.TOO_BIG])
def test_an_icmpv6_error_that_cannot_be_sent_is_counted_only(
    endpoint: Endpoint, forwarder: RecordingForwarder, result: SendResult
) -> None:
    forwarder.result = result
    endpoint.outbound([ipv6(OWN, PEER, b"\x01\x00" + bytes(46), ICMPV6)], NOW)
    assert endpoint.take_local() == []
    assert sum(endpoint.drops().values()) == 1


def test_errors_are_limited_by_kind(endpoint: Endpoint, forwarder: RecordingForwarder) -> None:
    forwarder.result = SendResult.NO_ROUTE
    endpoint.outbound([PACKET] * 150 + [ipv6(OWN, OUTSIDE, ports(1, 2))] * 150, NOW)
    assert len(endpoint.take_local()) == 100
    assert _counted(endpoint) == {"out_no_route": 150, "out_not_overlay": 150}
    forwarder.result = SendResult.TOO_BIG
    endpoint.outbound([PACKET] * 150, NOW)
    assert len(endpoint.take_local()) == 100
    endpoint.outbound([PACKET] * 150, Now(NOW.seconds + 0.25, NOW.unix_ms))
    assert len(endpoint.take_local()) == 25


# Inbound


@pytest.mark.parametrize("buffer", [bytes, memoryview])
def test_a_packet_between_the_two_nodes_is_delivered(
    endpoint: Endpoint, buffer: type[bytes] | type[memoryview]
) -> None:
    packet = buffer(ipv6(PEER, OWN, ports(22, 1000, b"hello")))
    endpoint.inbound(PEER_KEY, packet)
    assert endpoint.take_local() == [packet]
    assert endpoint.take_local() == []
    assert _counted(endpoint) == {}


def test_deliveries_and_errors_keep_their_order(endpoint: Endpoint, forwarder: RecordingForwarder) -> None:
    first, last = ipv6(PEER, OWN, ports(1, 2)), ipv6(PEER, OWN, ports(3, 4))
    forwarder.result = SendResult.NO_ROUTE
    endpoint.inbound(PEER_KEY, first)
    endpoint.outbound([PACKET], NOW)
    endpoint.inbound(PEER_KEY, last)
    delivered = endpoint.take_local()
    assert (delivered[0], delivered[2]) == (first, last)
    assert delivered[1][6] == ICMPV6


@pytest.mark.parametrize(
    ("source", "destination", "cause"),
    [
        (STRANGER, OWN, "in_foreign_source"),
        (OWN, OWN, "in_foreign_source"),
        (OUTSIDE, OWN, "in_foreign_source"),
        (STRANGER, PEER, "in_foreign_source"),
        (PEER, PEER, "in_foreign_destination"),
        (PEER, MULTICAST, "in_foreign_destination"),
        (PEER, OUTSIDE, "in_foreign_destination"),
    ],
)
def test_other_addresses_are_not_let_in(
    endpoint: Endpoint, source: bytes, destination: bytes, cause: str
) -> None:
    endpoint.inbound(PEER_KEY, memoryview(ipv6(source, destination, ports(1, 2))))
    assert endpoint.take_local() == []
    assert _counted(endpoint) == {cause: 1}


def test_the_whole_key_need_not_match_only_what_the_address_shows(endpoint: Endpoint) -> None:
    """Two keys with the same first 15 bytes share an address: that is the protocol's, not the check's."""
    endpoint.inbound(PEER_KEY[:15] + bytes(17), ipv6(PEER, OWN))
    assert len(endpoint.take_local()) == 1


@pytest.mark.parametrize("payload", [b"", PACKET[:39], PACKET[:-1], PACKET + b"!", b"\x01" + PACKET[1:]])
def test_other_payloads_are_dropped(endpoint: Endpoint, payload: bytes) -> None:
    endpoint.inbound(OWN_KEY, memoryview(payload))
    assert endpoint.take_local() == []
    assert _counted(endpoint) == {"in_malformed": 1}


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda payload: PACKET[:40] + payload))
def test_whatever_comes_is_passed_on_or_counted(data: bytes) -> None:
    forwarder = RecordingForwarder()
    endpoint = Endpoint(OWN_KEY, forwarder, b"", MTU)
    endpoint.outbound([data], NOW)
    endpoint.take_local()
    assert len(forwarder.sent) + sum(endpoint.drops().values()) == 1
    endpoint.inbound(PEER_KEY, memoryview(data))
    assert len(forwarder.sent) + len(endpoint.take_local()) + sum(endpoint.drops().values()) == 2
