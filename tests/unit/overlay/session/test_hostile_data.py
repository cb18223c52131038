# SPDX-License-Identifier: Apache-2.0
"""Forged, replayed and held back messages, UNKNOWN, and packets in the clear."""

from random import Random

import pytest

from pineconed.overlay.session.message import encode_unknown
from tests.unit.overlay.conversation import (
    BEGIN,
    CONFIRM,
    DATA,
    INIT,
    PORT,
    RESPONSE,
    UNKNOWN,
    Conversation,
    decoded,
    lost,
    prompt,
    split_frames,
)
from tests.unit.overlay.hostile import MALLORY, Meddler, frame_of, times_of
from tests.unit.overlay.packets import OUTSIDE, ipv6, ports


@pytest.mark.parametrize("kind", [INIT, RESPONSE, CONFIRM, DATA])
@pytest.mark.parametrize("seed", range(12))
def test_a_message_with_a_flipped_bit_before_the_genuine_one_changes_nothing(kind: int, seed: int) -> None:
    rng = Random(seed * 10 + kind)

    def flip(frame: bytes) -> bytes:
        payload = decoded(frame).payload
        length = min(len(payload), 8 + 1216) if payload[0] == INIT else len(payload)
        start = len(frame) - len(payload)
        bit = rng.randrange(8 * length)
        changed = bytearray(frame)
        changed[start + bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    talk = Conversation(seed)
    talk.wire = Meddler(kind, flip)
    packets = [talk.a.packet(number) for number in range(3)]
    talk.send(talk.a, *packets)
    talk.run(1.0)
    answer = talk.b.packet(1)
    talk.send(talk.b, answer)
    talk.run(1.0)
    assert talk.b.packets == packets
    assert talk.a.packets == [answer]
    assert times_of(talk, INIT) == 1


def test_any_flipped_bit_of_data_is_noticed() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet(1))
    frame = talk.frames[-1][2]
    payload_at = len(frame) - len(decoded(frame).payload)
    before = talk.b.session.tally.last_heard
    for bit in range(8 * payload_at, 8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        talk.inject(talk.b, bytes(changed))
    talk.run(0.1)
    assert talk.b.packets == []
    assert talk.b.session.tally.last_heard == before
    talk.inject(talk.b, frame)
    talk.run(0.1)
    assert len(talk.b.packets) == 1
    assert talk.b.session.tally.drops["data_forged"] > 500  # type: ignore[index]  # a StrEnum is its value


@pytest.mark.parametrize("field", ["source key", "source coords"])
def test_what_the_header_claims_is_bound_to_the_message(field: str) -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet(1))
    genuine = decoded(talk.frames[-1][2])
    source_key = MALLORY.public_key if field == "source key" else talk.a.key
    coords = (66,) if field == "source coords" else genuine.source
    talk.inject(talk.b, frame_of(source_key, talk.b, genuine.payload, coords))
    talk.run(0.1)
    assert talk.b.packets == []
    assert talk.b.drops in ({"data_foreign_key": 1}, {"data_forged": 1})
    assert talk.b.endpoint.sessions.context.known.coords(talk.a.key[:15], talk.now) == (1,)


def test_a_packet_from_another_address_than_the_peers_is_not_delivered() -> None:
    talk = Conversation()
    talk.establish()
    context = talk.a.endpoint.sessions.context
    good = talk.a.packet(1)
    for bad in (
        ipv6(OUTSIDE, talk.b.address, ports(1, 2)),
        ipv6(talk.a.address, OUTSIDE, ports(1, 2)),
        b"\x61",
        b"\x07",
        b"\x05\x01",
        b"\x04",
        b"\x04" + bytes(8),
        b"\x04\x02" + bytes(7),
        b"\x04\x03" + bytes(7),
        b"\x02not asked for",
    ):
        context.send_inside(talk.a.session, bad, talk.now)
        context.send_inside(talk.a.session, good + bad if bad[0] >> 4 == 6 else b"", talk.now)
    talk._after(talk.a)
    talk.run(1.0)
    assert talk.b.packets == [good] * 3
    assert talk.b.drops == {
        "in_foreign_source": 2,
        "in_foreign_destination": 2,
        "plaintext_malformed": 3,
        "plaintext_unknown": 1,
        "echo_unexpected": 1,
        "rekey_refused": 4,
    }
    assert {cause.value: number for cause, number in talk.b.session.tally.drops.items()} == talk.b.drops


def test_super_packets_that_nobody_asked_for_or_from_elsewhere() -> None:
    header = ports(1, 2) + bytes(8) + b"\x50\x10" + bytes(6)
    head = b"\x05\x01" + (100).to_bytes(2) + (60).to_bytes(2)
    for features, source, cause in ((0, None, "plaintext_unknown"), (1, OUTSIDE, "in_foreign_source")):
        talk = Conversation(b={"features": features})
        talk.establish()
        packet = ipv6(source or talk.a.address, talk.b.address, header + bytes(500), 6)
        talk.a.endpoint.sessions.context.send_inside(talk.a.session, head + packet, talk.now)
        talk._after(talk.a)
        talk.run(1.0)
        assert talk.b.inbox == []
        assert talk.b.drops == {cause: 1}


def test_replayed_frames_are_delivered_once() -> None:
    talk = Conversation()
    talk.send(talk.a, *[talk.a.packet(number) for number in range(3)])
    talk.run(1.0)
    talk.send(talk.b, talk.b.packet(9))
    talk.run(1.0)
    for _, side, frame in list(talk.frames) * 3:
        talk.inject(side.peer, frame)
    talk.run(8.0)
    assert len(talk.b.packets) == 3
    assert len(talk.a.packets) == 1
    assert talk.a.session.index == talk.b.session.remote_index


def test_a_recorded_conversation_means_nothing_later() -> None:
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(1.0)
    recorded = [frame for _, side, frame in talk.frames if side is talk.a]
    talk.run(400.0)
    for frame in recorded:
        talk.inject(talk.b, frame)
    talk.run(30.0)
    assert len(talk.b.packets) == 1
    assert talk.b.endpoint.sessions.counts()["sessions"] == 0


def test_a_frame_held_back_does_not_redirect_answers() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    held = talk.a.packet(1)
    talk.send(talk.a, held)
    frame = talk.frames[-1][2]
    talk.wire = prompt
    talk.move(talk.a, (8,))
    talk.run(2.5)  # by then a has said for the last time where it is
    talk.inject(talk.b, frame)
    talk.run(0.0)
    assert talk.b.packets == [held]
    talk.frames.clear()
    talk.send(talk.b, talk.b.packet(2))
    assert talk.traffic()[0][2].destination == (8,)


def test_a_frame_of_an_older_session_does_not_redirect_answers() -> None:
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet(1))
    frame = talk.frames[-1][2]
    talk.wire = prompt
    talk.a.endpoint.sessions.dialler.redial(talk.b.key[:15], talk.now)
    talk._after(talk.a)
    talk.run(0.5)
    talk.move(talk.a, (8,))
    talk.run(2.5)
    talk.inject(talk.b, frame)
    talk.run(0.0)
    assert len(talk.b.packets) == 1
    assert talk.b.endpoint.sessions.context.known.coords(talk.a.key[:15], talk.now) == (8,)


def test_unknown_is_only_a_hint() -> None:
    talk = Conversation()
    talk.establish()
    session = talk.a.session
    for index, counter, source in (
        (session.remote_index, 10**6, talk.b.key),
        (session.remote_index ^ 1, 0, talk.b.key),
        (session.remote_index, 0, MALLORY.public_key),
        (session.remote_index, 0, talk.b.key[:31] + b"?"),
    ):
        talk.inject(talk.a, frame_of(source, talk.a, encode_unknown(index, counter)))
    talk.run(0.1)
    assert talk.frames == []
    assert talk.a.drops == {"hint_ignored": 4}
    for _ in range(50):
        counter = talk.a.session.sent - 1
        for known in talk.a.endpoint.sessions.context.table.of_peer(talk.b.key[:15]):
            hint = encode_unknown(known.remote_index, max(0, min(counter, known.sent - 1)))
            talk.inject(talk.a, frame_of(talk.b.key, talk.a, hint))
        talk.send(talk.a, talk.a.packet(1))
        talk.send(talk.b, talk.b.packet(1))
        talk.run(0.5)
    assert len(talk.a.packets) == len(talk.b.packets) == 50
    assert times_of(talk, INIT) <= 25 / 0.5


def test_hints_about_old_data_are_ignored() -> None:
    talk = Conversation()
    talk.establish()
    for _ in range(20):
        talk.send(talk.a, talk.a.packet(1))
        talk.run(1.0)
    assert not talk.a.session.sent_lately(0)
    assert talk.a.session.sent_lately(talk.a.session.sent - 1)
    assert not talk.a.session.sent_lately(talk.a.session.sent)
    talk.inject(talk.a, frame_of(talk.b.key, talk.a, encode_unknown(talk.a.session.remote_index, 0)))
    talk.run(0.1)
    assert talk.a.drops == {"hint_ignored": 1}


def test_unknown_is_sent_a_hundred_times_a_second_to_where_the_frame_says_it_came_from() -> None:
    talk = Conversation()
    rng = Random(1)
    for _ in range(300):
        data = b"\x04\0\0\0" + rng.randbytes(60)
        talk.inject(talk.b, frame_of(rng.randbytes(32), talk.b, data, (5, 5)))
    talk.run(0.01)
    assert talk.b.drops == {"data_unknown": 300}
    assert len(talk.frames) <= 100
    assert {len(frame.payload) for _, _, frame in talk.traffic()} == {16}
    assert {frame.destination for _, _, frame in talk.traffic()} <= {(5, 5), ()}


def test_data_that_is_cut_off() -> None:
    talk = Conversation()
    talk.establish()
    data = b"\x04\0\0\0" + talk.b.session.index.to_bytes(4) + bytes(23)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, data))
    talk.run(0.1)
    assert talk.b.drops == {"message_malformed": 1}


def test_data_for_a_handshake_of_ours_is_not_answered() -> None:
    talk = Conversation()
    talk.wire = lambda side, frame: [] if decoded(frame).payload[0] == CONFIRM else prompt(side, frame)
    talk.send(talk.a, talk.a.packet())
    talk.run(0.2)
    [half_open] = talk.b.endpoint.sessions.context.indices.owners.values()
    data = b"\x04\0\0\0" + half_open.index.to_bytes(4) + bytes(40)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, data))
    [attempt] = talk.a.endpoint.sessions.context.indices.owners.values()
    forged = b"\x04\0\0\0" + attempt.index.to_bytes(4) + bytes(40)
    talk.inject(talk.a, frame_of(talk.b.key, talk.a, forged))
    talk.run(0.1)
    assert talk.b.drops == {"data_unknown": 1}
    assert talk.a.drops == {"data_forged": 1}
    assert times_of(talk, UNKNOWN) == 0
    assert talk.a.endpoint.sessions.counts()["sessions"] == 0


def test_bare_packets_of_a_peer_with_a_session_are_not_delivered() -> None:
    talk = Conversation()
    talk.establish()
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, talk.a.packet(1)))
    talk.run(0.1)
    assert talk.b.inbox == []
    assert talk.b.drops == {"bare_not_listed": 1}


def test_nothing_of_what_is_said_can_be_seen_on_the_wire() -> None:
    talk = Conversation()
    pattern = b"a pattern that is easy to find"
    for side in (talk.a, talk.b) * 3:
        talk.send(side, ipv6(side.address, side.peer.address, ports(1, 2, pattern)))
        talk.run(1.0)
    assert len(talk.a.packets) == len(talk.b.packets) == 3
    assert not any(pattern in frame for _, _, frame in talk.frames)
    assert talk.now > BEGIN


def test_a_flood_of_echoes_does_not_put_out_the_init_to_another_node() -> None:
    talk = Conversation()
    talk.establish()
    flood_with_echoes(talk, 40)
    other = b"\xfd" + bytes(range(15))
    talk.a.endpoint.outbound([ipv6(talk.a.address, other, ports(1, 2, b""))], talk.moment)
    flood_with_echoes(talk, 40)
    queue = talk.a.queues[PORT]
    assert queue.size > 900_000
    waiting = split_frames(b"".join(queue.take(1 << 24)))
    assert [decoded(frame).payload[0] for frame in waiting][:2] == [DATA, INIT]


def flood_with_echoes(talk: Conversation, number: int) -> None:
    """Long echo requests come from b to a, whose link is stalled."""
    for _ in range(number):
        request = b"\1" + talk.rng.randbytes(8) + bytes(60_000)
        message = b"".join(talk.b.session.seal(request, talk.b.forwarder.source_coords, talk.now))
        frame = frame_of(talk.b.key, talk.a, message, talk.b.coords)
        talk.a.forwarder.forward(memoryview(frame), PORT, talk.now)
        for key, coords, payload, _, port in talk.a.forwarder.take_local():
            talk.a.endpoint.inbound(key, coords, payload, port, talk.moment)
