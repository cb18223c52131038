# SPDX-License-Identifier: Apache-2.0
"""The endpoint: what the TUN device gives and gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.session.plaintext import MAX_BATCH, MAX_BLUETOOTH_BATCH
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, encode_frame
from pineconed.wire.watermark import FULL
from tests.unit.overlay.conversation import Conversation, Side, lost
from tests.unit.overlay.packets import ICMPV6, MULTICAST, OUTSIDE, TCP, ipv6, ports

MTU = 65_000
STRANGER = bytes([0xFD]) + bytes(15)
OVERHEAD = 32


@pytest.fixture
def talk() -> Conversation:
    talk = Conversation()
    talk.establish()
    return talk


def _sizes(talk: Conversation) -> list[int]:
    """Bytes of plaintext in every DATA of a."""
    return [
        len(frame.payload) - OVERHEAD
        for _, side, frame in talk.traffic()
        if side is talk.a and frame.payload[0] == 4
    ]


# Out


def test_a_packet_goes_to_the_whole_key_of_the_peer_by_its_coords(talk: Conversation) -> None:
    packet = talk.a.packet(7)
    talk.send(talk.a, packet)
    [(_, _, frame)] = talk.traffic()
    assert (frame.version, frame.hop_limit) == (0, 10)
    assert (frame.destination, frame.source) == ((2,), (1,))
    assert (frame.destination_key, frame.source_key) == (talk.b.key, talk.a.key)
    assert packet not in frame.payload
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert not talk.a.drops
    assert not talk.b.drops


def test_packets_of_one_drain_and_one_flow_travel_together(talk: Conversation) -> None:
    bulk = [talk.a.packet(number, 100) for number in range(5)]
    other = talk.a.packet(9, 20, port=2000)
    talk.send(talk.a, bulk[0], bulk[1], other, *bulk[2:])
    assert _sizes(talk) in ([sum(map(len, bulk)), len(other)], [len(other), sum(map(len, bulk))])
    assert len({frame.extra for _, _, frame in talk.traffic()}) == 2
    talk.run(1.0)
    assert sorted(talk.b.packets) == sorted([*bulk, other])
    assert [packet for packet in talk.b.packets if packet != other] == bulk
    assert talk.b.session.tally.rx_packets == 7


@pytest.mark.parametrize(("peer_type", "limit"), [(3, MAX_BATCH), (4, MAX_BLUETOOTH_BATCH)])
def test_a_batch_has_a_limit(talk: Conversation, peer_type: int, limit: int) -> None:
    talk.a.peer_type = peer_type
    talk.a.connect()
    packets = [talk.a.packet(number, 956) for number in range(100)]
    talk.send(talk.a, *packets)
    most = limit // 1004 * 1004
    assert max(_sizes(talk)) == most
    assert sum(_sizes(talk)) == 100 * 1004
    talk.run(1.0)
    assert talk.b.packets == packets


def test_a_packet_over_the_limit_goes_alone(talk: Conversation) -> None:
    packets = [talk.a.packet(0), talk.a.packet(1, 62_000), talk.a.packet(2)]
    talk.send(talk.a, *packets)
    assert sorted(_sizes(talk)) == [48, 48, 62_048]
    talk.run(1.0)
    assert sorted(talk.b.packets) == sorted(packets)


@pytest.mark.parametrize(
    "change",
    [
        lambda packet: packet[:0],
        lambda packet: packet[:39],
        lambda packet: packet[:-1],
        lambda packet: packet + b"!",
        lambda packet: b"\x45" + packet[1:],
        lambda packet: packet[:4] + b"\x00\x01" + packet[6:],
        lambda packet: b"\x70" + packet[1:6] + bytes([ICMPV6]) + packet[7:],
        lambda packet: b"\x70" + packet[1:4] + bytes(2) + packet[6:40],
    ],
    ids=["empty", "short", "cut", "longer", "IPv4", "longer than it is", "version 7", "short version 7"],
)
def test_what_is_no_ipv6_packet_is_dropped(talk: Conversation, change: Any) -> None:
    packet = talk.a.packet(1, 20)
    talk.send(talk.a, change(packet), packet)
    assert _sizes(talk) == [len(packet)]
    assert talk.a.drops == {"out_malformed": 1}
    assert talk.a.inbox == []


def _places(talk: Conversation) -> dict[str, bytes]:
    return {"own": talk.a.address, "peer": talk.b.address, "nobody": bytes(16)} | {
        "stranger": STRANGER,
        "outside": OUTSIDE,
        "multicast": MULTICAST,
    }


@pytest.mark.parametrize(
    ("source", "destination", "cause"),
    [
        ("stranger", "peer", "out_foreign_source"),
        ("peer", "own", "out_foreign_source"),
        ("stranger", "outside", "out_foreign_source"),
        ("nobody", "multicast", "out_multicast"),
        ("own", "multicast", "out_multicast"),
        ("own", "own", "out_to_self"),
    ],
)
def test_dropped_in_silence(talk: Conversation, source: str, destination: str, cause: str) -> None:
    places = _places(talk)
    packet = ipv6(places[source], places[destination], ports(1, 2))
    talk.send(talk.a, packet, packet)
    assert talk.frames == []
    assert talk.a.inbox == []
    assert talk.a.drops == {cause: 2}


def _is_error(side: Side, about: bytes, error_type: int, code: int, parameter: int = 0) -> None:
    """What the TUN device gets is one error from and to our own address."""
    [error] = side.inbox
    assert isinstance(error, bytes)
    assert error[8:40] == side.address + side.address
    assert (error[40], error[41]) == (error_type, code)
    assert int.from_bytes(error[44:48]) == parameter
    assert about.startswith(error[48:])


def test_no_route_to_an_address_outside_the_overlay(talk: Conversation) -> None:
    packet = ipv6(talk.a.address, OUTSIDE, ports(1, 2))
    talk.send(talk.a, packet)
    assert talk.frames == []
    assert talk.a.drops == {"out_not_overlay": 1}
    _is_error(talk.a, packet, error_type=1, code=0)


def test_no_route_without_a_session_costs_no_handshake() -> None:
    talk = Conversation()
    talk.a.table.remove_peer(1)
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    assert talk.a.drops == {"out_no_route": 1}
    assert talk.a.endpoint.sessions.counts()["dialling"] == 0
    _is_error(talk.a, packet, error_type=1, code=0)


def test_no_route_with_a_session(talk: Conversation) -> None:
    talk.a.table.remove_peer(1)
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    assert talk.frames == []
    assert talk.a.drops == {"out_no_route": 1}
    _is_error(talk.a, packet, error_type=1, code=0)


@pytest.mark.parametrize("theirs", [1280, 9000, 100])
def test_too_big_for_the_peer(theirs: int) -> None:
    talk = Conversation(b={"mtu": theirs})
    talk.establish()
    told = max(theirs, 1280)
    fits, too_big = talk.a.packet(0, told - 48), talk.a.packet(1, told - 47)
    talk.send(talk.a, fits, too_big)
    assert _sizes(talk) == [told]
    assert talk.a.drops == {"out_too_big": 1}
    _is_error(talk.a, too_big, error_type=2, code=0, parameter=told)


def test_too_big_for_a_frame() -> None:
    """Coords take room in the frame; what is told then fits."""
    talk = Conversation(a={"mtu": 65535}, b={"mtu": 65535})
    talk.establish()
    packet = talk.a.packet(0, 65_400)
    talk.send(talk.a, packet)
    [error] = talk.a.inbox
    assert isinstance(error, bytes)
    told = int.from_bytes(error[44:48])
    assert 65_300 < told < 65_448
    talk.a.inbox.clear()
    fits = talk.a.packet(0, told - 48)
    talk.send(talk.a, fits)
    assert talk.a.inbox == []
    talk.run(1.0)
    assert talk.b.packets == [fits]


def test_an_icmpv6_error_that_cannot_be_sent_is_counted_only(talk: Conversation) -> None:
    talk.a.table.remove_peer(1)
    talk.send(talk.a, ipv6(talk.a.address, talk.b.address, b"\x01\x00" + bytes(46), ICMPV6))
    assert talk.a.inbox == []
    assert sum(talk.a.drops.values()) == 1


def test_errors_are_limited_by_kind(talk: Conversation) -> None:
    talk.a.table.remove_peer(1)
    packet = talk.a.packet()
    outside = ipv6(talk.a.address, OUTSIDE, ports(1, 2))
    talk.send(talk.a, *[packet] * 150, *[outside] * 150)
    assert len(talk.a.inbox) == 100
    assert talk.a.drops == {"out_no_route": 150, "out_not_overlay": 150}
    too_big = talk.a.packet(0, 65_400)
    talk.a.connect()
    talk.send(talk.a, *[too_big] * 150)
    assert len(talk.a.inbox) == 200
    talk.run(0.25)
    talk.send(talk.a, *[too_big] * 150)
    assert len(talk.a.inbox) == 225


# In


def _frame(talk: Conversation, payload: bytes, source: Coords = ()) -> bytes:
    """What a hostile node makes up in the name of a."""
    return encode_frame(TrafficFrame((2,), source, talk.b.key, talk.a.key, FULL, payload))


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (b"", "payload_unknown"),
        (b"\x00", "payload_unknown"),
        (b"\x01", "message_malformed"),
        (b"\x01" + bytes(1398), "message_malformed"),
        (b"\x01" + bytes(1400), "message_malformed"),
        (b"\x02\x00\x00\x01" + bytes(4), "message_malformed"),
        (b"\x02" + bytes(7), "response_unexpected"),
        (b"\x03" + bytes(7), "confirm_unexpected"),
        (b"\x04" + bytes(14), "data_unknown"),
        (b"\x04", "data_unknown"),
        (b"\x04" + bytes(31), "data_unknown"),
        (b"\x05" + bytes(14), "message_malformed"),
        (b"\x05" + bytes(15), "hint_ignored"),
        (b"\x06" + bytes(15), "message_unknown"),
        (b"\x3f" + bytes(15), "message_unknown"),
        (b"\x40", "payload_quic"),
        (b"\xff" + bytes(100), "payload_quic"),
        (b"\x60" + bytes(38), "payload_quic"),
        (b"\x60" + bytes(40), "payload_quic"),
        (b"\x60" + bytes(39), "bare_not_listed"),
    ],
)
def test_payloads_that_are_nothing(talk: Conversation, payload: bytes, cause: str) -> None:
    talk.inject(talk.b, _frame(talk, payload))
    talk.run(0.01)
    assert talk.b.inbox == []
    assert talk.b.drops[cause] == 1


@given(st.binary(max_size=100), st.lists(st.integers(0, 300), max_size=3).map(tuple))
def test_any_payload_is_sent_or_counted(payload: bytes, coords: Coords) -> None:
    talk = Conversation()
    talk.wire = lost
    talk.inject(talk.b, _frame(talk, payload, coords))
    talk.send(talk.a, payload)
    talk.run(0.01)
    assert sum(talk.b.drops.values()) in (1, 2)
    assert sum(talk.a.drops.values()) + len(talk.frames) >= 1
    assert talk.b.inbox == []


# In the clear


@pytest.fixture
def clear() -> Conversation:
    """Two nodes that list each other, one by key and one by address."""
    talk = Conversation()
    talk.a.options["bare_ipv6"] = [talk.b.key]
    talk.b.options["bare_ipv6"] = [talk.a.address]
    talk.restart(talk.a)
    talk.restart(talk.b)
    return talk


def test_listed_nodes_are_reached_as_the_reference_does_it(clear: Conversation) -> None:
    packet, answer = clear.a.packet(1, 50), clear.b.packet(2)
    clear.send(clear.a, packet, packet)
    frame = clear.traffic()[0][2]
    assert frame.payload == packet
    assert (frame.destination, frame.source) == ((), (1,))
    assert (frame.destination_key, frame.source_key) == (clear.b.key[:15] + bytes(17), clear.a.key)
    clear.run(1.0)
    clear.send(clear.b, answer)
    clear.run(1.0)
    assert clear.b.packets == [packet, packet]
    assert clear.a.packets == [answer]
    [snapshot] = clear.pictures(clear.a)
    assert (snapshot.state, snapshot.address, snapshot.hybrid) == ("bare", clear.b.address, False)
    assert (snapshot.tx_packets, snapshot.rx_packets) == (2, 1)
    assert snapshot.last_heard_seconds == pytest.approx(1.0 - 0.05)


@pytest.mark.parametrize(
    ("source", "destination", "cause"),
    [
        ("stranger", "peer", "in_foreign_source"),
        ("peer", "peer", "in_foreign_source"),
        ("own", "own", "in_foreign_destination"),
        ("own", "multicast", "in_foreign_destination"),
        ("own", "outside", "in_foreign_destination"),
    ],
)
def test_other_addresses_are_not_let_in(
    clear: Conversation, source: str, destination: str, cause: str
) -> None:
    places = _places(clear)
    clear.inject(clear.b, _frame(clear, ipv6(places[source], places[destination], ports(1, 2))))
    clear.run(0.01)
    assert clear.b.inbox == []
    assert clear.b.drops == {cause: 1}


def test_in_the_clear_errors_are_answered_too(clear: Conversation) -> None:
    too_big = clear.a.packet(0, MTU)
    clear.send(clear.a, too_big)
    clear.a.table.remove_peer(1)
    clear.send(clear.a, clear.a.packet())
    assert clear.a.errors == [(2, 0), (1, 0)]
    assert clear.a.drops == {"out_too_big": 1, "out_no_route": 1}
    assert clear.pictures(clear.a) == []


def test_a_listed_node_that_has_a_session_is_not_reached_in_the_clear() -> None:
    talk = Conversation()
    talk.b.options["bare_ipv6"] = [talk.a.key]
    talk.restart(talk.b)
    talk.send(talk.a, talk.a.packet())
    talk.run(1.0)
    answer = talk.b.packet()
    talk.send(talk.b, answer)
    talk.run(1.0)
    assert talk.a.packets == [answer]
    assert not any(answer in frame for _, _, frame in talk.frames)


@pytest.mark.parametrize("listed", [b"", bytes(16), bytes(33)])
def test_what_cannot_be_listed(listed: bytes) -> None:
    with pytest.raises(ValueError, match="neither a key nor an address"):
        Conversation(a={"bare_ipv6": [listed]})


def test_tcp_is_told_by_its_ports(talk: Conversation) -> None:
    packets = [ipv6(talk.a.address, talk.b.address, ports(1, 22, bytes([n]) * 16), TCP) for n in range(3)]
    talk.send(talk.a, *packets)
    assert len(talk.frames) == 1
    talk.run(1.0)
    assert talk.b.packets == packets
