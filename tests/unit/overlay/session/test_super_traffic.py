# SPDX-License-Identifier: Apache-2.0
"""Super-packets on their way from one TUN device to the other."""

import pytest

from pineconed.overlay.partial import complete
from pineconed.overlay.session.super_packet import SuperKind, SuperPacket, encode_super_packet
from tests.unit.overlay.conversation import Conversation, Side, lost
from tests.unit.overlay.packets import OUTSIDE, TCP, UDP, ipv6, partial, ports


def _super(talk: Conversation, segments: int, size: int = 1000) -> SuperPacket:
    header = ports(1, 2) + bytes(8) + b"\x50\x10" + bytes(6)
    data = partial(ipv6(talk.a.address, talk.b.address, header + bytes(segments * size), TCP))
    return SuperPacket(SuperKind.TCP, size, 60, b"\x60" + data[1:])


def test_super_packets_go_whole_to_a_peer_that_takes_them() -> None:
    talk = Conversation(a={"features": 1}, b={"features": 3})
    talk.establish()
    talk.frames.clear()
    packet = _super(talk, 40)
    plain = ipv6(talk.a.address, talk.b.address, packet.packet[40:100], TCP)
    talk.send(talk.a, plain, packet, plain)
    assert len(talk.frames) == 3
    talk.run(1.0)
    assert talk.b.inbox == [plain, packet, plain]
    assert not talk.a.drops


def test_super_packets_are_cut_for_others() -> None:
    talk = Conversation(a={"features": 1})
    talk.establish()
    talk.frames.clear()
    talk.send(talk.a, _super(talk, 40))
    talk.run(1.0)
    assert len(talk.b.packets) == 40
    assert len(talk.frames) == 1


def test_super_packets_wait_for_a_session_too() -> None:
    talk = Conversation(a={"features": 1}, b={"features": 1})
    packet = _super(talk, 4)
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.inbox == [packet]


def test_super_packets_to_nobody() -> None:
    talk = Conversation(a={"features": 1})
    talk.wire = lost
    talk.send(talk.a, _super(talk, 4))
    talk.run(8.0)
    assert talk.a.errors == [(1, 3)]
    talk.a.table.remove_peer(1)
    talk.run(2.0)
    talk.send(talk.a, _super(talk, 4))
    assert talk.a.errors == [(1, 3), (1, 0)]


def test_super_packets_in_the_clear_and_over_bluetooth_are_cut() -> None:
    talk = Conversation(a={"features": 1}, b={"features": 1})
    talk.establish()
    talk.a.peer_type = 4
    talk.a.connect()
    talk.send(talk.a, _super(talk, 40))
    talk.run(1.0)
    assert len(talk.b.packets) == 40
    talk = Conversation(a={"features": 1})
    talk.a.options["bare_ipv6"] = [talk.b.key]
    talk.b.options["bare_ipv6"] = [talk.a.key]
    talk.restart(talk.a)
    talk.restart(talk.b)
    talk.send(talk.a, _super(talk, 40))
    talk.run(1.0)
    assert len(talk.b.packets) == 40


def test_super_packets_that_cannot_be_sent() -> None:
    talk = Conversation(a={"features": 1}, b={"features": 1, "mtu": 1280})
    talk.establish()
    talk.send(talk.a, _super(talk, 4, size=1221))
    assert talk.a.errors == [(2, 0)]
    assert talk.a.drops == {"out_too_big": 1}
    talk.send(talk.a, _super(talk, 4, size=1221)._replace(kind=SuperKind.UDP))
    assert talk.a.drops == {"out_too_big": 2}
    talk.a.table.remove_peer(1)
    talk.send(talk.a, _super(talk, 4))
    assert talk.a.errors == [(2, 0), (2, 0), (1, 0)]


def test_super_packets_that_do_not_fit_a_frame() -> None:
    talk = Conversation(a={"features": 1, "mtu": 65535}, b={"features": 1})
    talk.establish()
    talk.send(talk.a, _super(talk, 65))
    assert talk.a.errors == []
    talk.run(1.0)
    assert len(talk.b.packets) == 65


def test_what_no_peer_takes_whole_is_cut_for_those_that_take_others() -> None:
    """Segments shorter than the least, as a small MSS makes them."""
    talk = Conversation(a={"features": 1}, b={"features": 1})
    talk.establish()
    talk.send(talk.a, _super(talk, 1, size=100)._replace(segment_size=40))
    talk.run(1.0)
    assert [len(packet) for packet in talk.b.packets] == [100, 100, 80]


# Partial packets


def _partial(side: Side, protocol: int, size: int = 100) -> bytes:
    return partial(ipv6(side.address, side.peer.address, ports(1, 2, bytes(16 + size)), protocol))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_partial_packets_stay_so_for_a_peer_that_takes_them(protocol: int) -> None:
    talk = Conversation(a={"features": 4}, b={"features": 7})
    talk.establish()
    packet = _partial(talk.a, protocol)
    talk.send(talk.a, packet, complete(packet), packet)
    assert len(talk.frames) == 1
    talk.run(1.0)
    assert talk.b.inbox == [packet, complete(packet), packet]


def test_long_packets_share_a_batch_too() -> None:
    talk = Conversation(a={"features": 4}, b={"features": 4})
    talk.establish()
    packets = [_partial(talk.a, TCP, size) for size in (5000, 100, 20000)]
    talk.send(talk.a, *packets)
    assert len(talk.frames) == 1
    talk.run(1.0)
    assert talk.b.inbox == packets


@pytest.mark.parametrize("features", [(4, 3), (3, 4), (4, 0)])
def test_partial_packets_are_completed_for_others(features: tuple[int, int]) -> None:
    talk = Conversation(a={"features": features[0]}, b={"features": features[1]})
    talk.establish()
    packet = _partial(talk.a, TCP)
    talk.send(talk.a, packet, packet)
    talk.run(1.0)
    assert talk.b.inbox == [complete(packet)] * 2


def test_segments_stay_partial_for_a_peer_that_takes_such() -> None:
    talk = Conversation(a={"features": 7}, b={"features": 4})
    talk.establish()
    talk.send(talk.a, _super(talk, 2))
    talk.run(1.0)
    assert [packet[0] for packet in talk.b.packets] == [0x70, 0x70]


def test_the_packet_that_comes_with_confirm_is_complete() -> None:
    talk = Conversation(a={"features": 4}, b={"features": 4})
    packets = [_partial(talk.a, TCP), _partial(talk.a, UDP)]
    talk.send(talk.a, *packets)
    talk.run(1.0)
    assert talk.b.inbox == [complete(packets[0]), packets[1]]


def test_partial_packets_in_the_clear_are_completed() -> None:
    talk = Conversation(a={"features": 7}, b={"features": 7})
    talk.a.options["bare_ipv6"] = [talk.b.key]
    talk.b.options["bare_ipv6"] = [talk.a.key]
    talk.restart(talk.a)
    talk.restart(talk.b)
    packet = _partial(talk.a, TCP)
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.inbox == [complete(packet)]


def test_errors_quote_the_packet_as_its_sender_knows_it() -> None:
    talk = Conversation(a={"features": 4}, b={"features": 4, "mtu": 1280})
    talk.establish()
    packet = _partial(talk.a, UDP, 2000)
    talk.send(talk.a, packet)
    [error] = talk.a.inbox
    assert isinstance(error, bytes)
    assert talk.a.errors == [(2, 0)]
    assert error[48:] == b"\x60" + packet[1 : len(error) - 48]


def _hostile(talk: Conversation, plaintext: bytes) -> None:
    """Side a sends this inside its session, whatever it is."""
    talk.a.endpoint.sessions.context.send_inside(talk.a.session, plaintext, talk.now)
    talk._after(talk.a)
    talk.run(0.1)


def _bad_partials(talk: Conversation) -> dict[str, bytes]:
    tcp, udp = _partial(talk.a, TCP), _partial(talk.a, UDP)
    return {
        "other protocol": tcp[:6] + b"\x3a" + tcp[7:],
        "fragment": tcp[:6] + b"\x2c" + tcp[7:],
        "TCP cut off": tcp[:4] + b"\0\x13" + tcp[6:59],
        "UDP cut off": udp[:4] + b"\0\x07" + udp[6:47],
        "headers only": tcp[:4] + b"\0\0" + tcp[6:40],
        "longer than it says": tcp + bytes(50),
        "behind a good one": tcp + tcp[:6] + b"\0" + tcp[7:],
    }


@pytest.mark.parametrize("name", _bad_partials(Conversation()))
def test_malformed_partial_packets_are_dropped_and_counted(name: str) -> None:
    talk = Conversation(a={"features": 4}, b={"features": 4})
    talk.establish()
    _hostile(talk, _bad_partials(talk)[name])
    assert all(packet[40:] == _partial(talk.a, TCP)[40:] for packet in talk.b.packets)
    assert len(talk.b.packets) <= 1
    assert talk.b.drops == {"plaintext_malformed": 1}


def test_partial_packets_from_foreign_addresses_are_dropped() -> None:
    talk = Conversation(a={"features": 4}, b={"features": 4})
    talk.establish()
    packet = _partial(talk.a, TCP)
    _hostile(talk, packet[:8] + OUTSIDE + packet[24:])
    assert talk.b.inbox == []
    assert talk.b.drops == {"in_foreign_source": 1}


def test_nobody_gets_what_it_did_not_offer_to_take() -> None:
    talk = Conversation(a={"features": 7}, b={"features": 2})
    talk.establish()
    _hostile(talk, _partial(talk.a, TCP))
    _hostile(talk, encode_super_packet(_super(talk, 4)))
    assert talk.b.inbox == []
    assert talk.b.drops == {"plaintext_malformed": 1, "plaintext_unknown": 1}
