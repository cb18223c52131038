# SPDX-License-Identifier: Apache-2.0
"""Super-packets on their way from one TUN device to the other."""

from pineconed.overlay.session.super_packet import SuperKind, SuperPacket
from tests.unit.overlay.conversation import Conversation, lost
from tests.unit.overlay.packets import TCP, ipv6, ports


def _super(talk: Conversation, segments: int, size: int = 1000) -> SuperPacket:
    header = ports(1, 2) + bytes(8) + b"\x50\x10" + bytes(6)
    data = ipv6(talk.a.address, talk.b.address, header + bytes(segments * size), TCP)
    return SuperPacket(SuperKind.TCP, size, 60, data)


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
    talk.send(talk.a, _super(talk, 4)._replace(segment_size=1))
    assert talk.a.drops == {"out_too_big": 1, "out_malformed": 1}
    talk.a.table.remove_peer(1)
    talk.send(talk.a, _super(talk, 4))
    assert talk.a.errors == [(2, 0), (1, 0)]


def test_super_packets_that_do_not_fit_a_frame() -> None:
    talk = Conversation(a={"features": 1, "mtu": 65535}, b={"features": 1})
    talk.establish()
    talk.send(talk.a, _super(talk, 65))
    assert talk.a.errors == []
    talk.run(1.0)
    assert len(talk.b.packets) == 65
