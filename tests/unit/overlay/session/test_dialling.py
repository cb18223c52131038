# SPDX-License-Identifier: Apache-2.0
"""From the first packet for a node to a session with it."""

import pytest

from pineconed.overlay.events import DialFailed, SessionUp
from tests.unit.overlay.conversation import (
    BEGIN,
    CONFIRM,
    DATA,
    INIT,
    LATENCY,
    RESPONSE,
    Conversation,
    Losing,
    kinds,
    lost,
    prompt,
    times,
)


def test_the_first_packet_arrives_after_one_and_a_half_round_trips() -> None:
    talk = Conversation()
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert talk.b.arrived_at == [pytest.approx(BEGIN + 3 * LATENCY)]
    assert kinds(talk, talk.a) == [INIT, CONFIRM]
    assert kinds(talk, talk.b) == [RESPONSE, DATA]
    assert not talk.a.drops
    assert not talk.b.drops
    assert talk.a.events == [SessionUp(talk.b.key, "AES_256_GCM", initiator=True)]
    assert talk.b.events == [SessionUp(talk.a.key, "AES_256_GCM", initiator=False)]


def test_where_the_messages_go_and_how_long_they_are() -> None:
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(1.0)
    init, response, confirm, proof = [frame for _, _, frame in talk.traffic()]
    assert init.destination_key == talk.b.key[:15] + bytes(17)
    assert [frame.destination_key for frame in (response, confirm, proof)] == [
        talk.a.key,
        talk.b.key,
        talk.a.key,
    ]
    assert [frame.destination for frame in (init, response, confirm, proof)] == [(), (1,), (2,), (1,)]
    assert len(init.payload) == 1400
    assert len(response.payload) <= 1400
    assert init.payload[8 + 1216 :] == bytes(176)
    assert len(proof.payload) == 32


@pytest.mark.parametrize(
    ("ours", "theirs", "cipher"),
    [(b"\x01\x02", b"\x01", "AES_256_GCM"), (b"\x02\x01", b"\x01", "CHACHA20_POLY1305")],
)
def test_both_sides_choose_the_same_cipher(ours: bytes, theirs: bytes, cipher: str) -> None:
    talk = Conversation(a={"ciphers": ours}, b={"ciphers": theirs})
    talk.establish()
    assert talk.a.session.cipher.name == talk.b.session.cipher.name == cipher
    talk.send(talk.a, talk.a.packet(1, 500), talk.a.packet(2, 500))
    talk.run(1.0)
    assert len(talk.b.packets) == 2


def test_64_packets_wait_and_none_is_lost() -> None:
    talk = Conversation()
    packets = [talk.a.packet(number) for number in range(64)]
    for packet in packets:
        talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == packets
    assert talk.a.session.tally.tx_packets == talk.b.session.tally.rx_packets == 64
    assert talk.a.endpoint.sessions.dialler._total.used == 0


def test_what_does_not_fit_while_waiting_is_counted() -> None:
    talk = Conversation()
    talk.send(talk.a, *[talk.a.packet(number) for number in range(70)])
    talk.run(1.0)
    assert len(talk.b.packets) == 64
    assert talk.a.drops == {"out_waiting_full": 6}


def test_unreachable_is_told_a_hundred_times_a_second() -> None:
    talk = Conversation()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    talk.run(8.0)
    for _ in range(150):
        talk.send(talk.a, talk.a.packet())
    assert len(talk.a.errors) == 101
    assert talk.a.drops == {"out_unreachable": 151}


def test_a_first_packet_that_confirm_cannot_carry_comes_right_after() -> None:
    talk = Conversation(b={"mtu": 1400})
    packets = [talk.a.packet(0, 2000), talk.a.packet(1, 1000)]
    talk.send(talk.a, *packets)
    talk.run(1.0)
    assert talk.b.packets == packets[1:]
    assert talk.a.errors == [(2, 0)]
    assert kinds(talk, talk.a) == [INIT, CONFIRM, DATA]


def test_a_large_first_packet_fits_confirm() -> None:
    talk = Conversation()
    packet = talk.a.packet(0, 64_000)
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert kinds(talk, talk.a) == [INIT, CONFIRM]


def test_long_coords_are_left_out_of_the_response() -> None:
    talk = Conversation()
    talk.b.coords = (5,) * 200
    talk.a.connect()
    talk.b.connect()
    talk.establish()
    assert talk.a.endpoint.sessions.context.known.coords(talk.b.key[:15], talk.now) == (5,) * 200
    talk = Conversation()
    talk.b.coords = (5,) * 200
    talk.a.connect()
    talk.b.connect()
    talk.send(talk.a, talk.a.packet())
    talk.run(LATENCY * 2.5)
    assert talk.traffic()[-1][2].destination == ()
    assert len(talk.traffic()[1][2].payload) < 1400


def test_both_dial_at_once() -> None:
    talk = Conversation()
    there, back = talk.a.packet(1), talk.b.packet(2)
    talk.send(talk.a, there)
    talk.send(talk.b, back)
    talk.run(1.0)
    assert talk.b.packets == [there]
    assert talk.a.packets == [back]
    assert talk.a.session.index == talk.b.session.remote_index
    assert talk.b.session.index == talk.a.session.remote_index
    assert talk.a.session.initiator == (talk.a.key > talk.b.key)
    for side in (talk.a, talk.b):
        assert side.endpoint.sessions.counts() == {"sessions": 2, "half_open_handshakes": 1, "dialling": 0}
        assert len(side.events) == 1
    talk.frames.clear()
    talk.send(talk.a, talk.a.packet(3))
    talk.send(talk.b, talk.b.packet(4))
    talk.run(200.0)
    assert len(talk.a.packets) == len(talk.b.packets) == 2
    assert talk.a.endpoint.sessions.counts()["sessions"] == talk.b.endpoint.sessions.counts()["sessions"]


@pytest.mark.parametrize("gap", [0.01, 0.04, 0.06, 0.09, 0.11, 0.14, 0.16, 0.3])
def test_both_dial_nearly_at_once_and_agree_on_the_session(gap: float) -> None:
    talk = Conversation()
    packets = [talk.a.packet(1), talk.b.packet(2)]
    talk.send(talk.a, packets[0])
    talk.run(gap)
    talk.send(talk.b, packets[1])
    talk.run(2.0)
    assert talk.b.packets == packets[:1]
    assert talk.a.packets == packets[1:]
    assert talk.a.session.index == talk.b.session.remote_index


def test_nobody_there() -> None:
    talk = Conversation()
    talk.wire = lost
    packets = [talk.a.packet(number) for number in range(3)]
    talk.send(talk.a, *packets)
    talk.run(7.49)
    assert times(talk, talk.a, INIT) == [n / 2 for n in range(15)]
    assert len({frame.payload for _, _, frame in talk.traffic()}) == 1
    assert talk.a.inbox == []
    talk.run(0.02)
    assert talk.a.errors == [(1, 3)] * 3
    assert talk.a.arrived_at == [BEGIN + 7.5] * 3
    assert talk.a.drops == {"out_unreachable": 3}
    assert talk.a.events == [DialFailed(talk.b.address)]
    assert not talk.a.endpoint.sessions.context.indices.owners


def test_after_a_failure_the_next_packet_may_dial_after_a_second() -> None:
    talk = Conversation()
    talk.wire = lost
    talk.send(talk.a, talk.a.packet())
    talk.run(8.0)
    talk.send(talk.a, talk.a.packet())
    assert talk.a.errors == [(1, 3)] * 2
    [snapshot] = talk.pictures(talk.a)
    assert snapshot.state == "failed"
    talk.run(0.6)
    assert talk.pictures(talk.a) == []
    talk.wire = prompt
    packet = talk.a.packet(5)
    talk.send(talk.a, packet)
    [snapshot] = talk.pictures(talk.a)
    assert (snapshot.state, snapshot.waiting, snapshot.public_key) == ("dialling", 1, None)
    talk.run(1.0)
    assert talk.b.packets == [packet]


@pytest.mark.parametrize("away", [number / 4 for number in range(48)])
def test_who_comes_back_is_asked_within_two_seconds_while_packets_come(away: float) -> None:
    talk = Conversation()
    talk.establish()
    talk.b.endpoint.sessions.close(talk.now)
    talk._after(talk.b)
    talk.run(0.5)
    talk.wire = lost
    for _ in range(int(away * 10)):
        talk.send(talk.a, talk.a.packet())
        talk.run(0.1)
    talk.restart(talk.b)
    talk.wire = prompt
    back_at = talk.now
    while not talk.b.packets:
        talk.send(talk.a, talk.a.packet())
        talk.run(0.1)
    assert talk.b.arrived_at[0] - back_at <= 2.0 + 0.1 + 3 * LATENCY


@pytest.mark.parametrize(
    ("numbers", "arrives"),
    [
        ((0,), 0.65),  # INIT
        ((1,), 0.65),  # RESPONSE
        ((2,), 0.1 + 0.5 + 0.05),  # CONFIRM
        ((2, 3), 0.1 + 1.0 + 0.05),
        ((2, 3, 4), 0.1 + 2.0 + 0.05),
        ((3,), 0.15),  # the DATA that proves the session
        ((3, 5), 0.15),
        ((0, 1, 2), 1.65),
    ],
)
def test_lost_messages_are_sent_again(numbers: tuple[int, ...], arrives: float) -> None:
    talk = Conversation()
    talk.wire = Losing(*numbers)
    packets = [talk.a.packet(1), talk.a.packet(2)]
    talk.send(talk.a, *packets)
    talk.run(7.0)
    assert talk.b.packets == packets
    assert talk.b.arrived_at[0] == pytest.approx(BEGIN + arrives)
    assert talk.a.session.index == talk.b.session.remote_index
    assert talk.b.drops == {}


@pytest.mark.parametrize(
    ("number", "of_a", "of_b"),
    [
        (None, 0.1, 0.1),
        (0, 0.1, 0.1),  # INIT
        (1, 0.1, None),  # RESPONSE: nobody can tell which one is answered
        (3, None, 0.1),  # the DATA that answers CONFIRM
    ],
)
def test_a_handshake_shows_the_round_trip(number: int | None, of_a: float | None, of_b: float | None) -> None:
    talk = Conversation()
    talk.wire = Losing(*([] if number is None else [number]))
    talk.ping(talk.a, b"begin")
    talk.run(2.9)
    rtt = [side.session.tally.rtt for side in (talk.a, talk.b)]
    assert [value and round(value, 6) for value in rtt] == [of_a, of_b]


def test_the_same_init_gets_the_same_response_along_the_snake() -> None:
    talk = Conversation()
    talk.wire = Losing(1)
    talk.send(talk.a, talk.a.packet())
    talk.run(3.0)
    first, second = [frame for _, side, frame in talk.traffic() if frame.payload[0] == RESPONSE]
    assert first.payload == second.payload
    assert (first.destination, second.destination) == ((1,), ())


def test_a_repeated_confirm_is_answered_again_for_ten_seconds() -> None:
    talk = Conversation()
    talk.establish()
    talk = Conversation()
    talk.send(talk.a, talk.a.packet())
    talk.run(1.0)

    [confirm] = [
        raw
        for (_, _, raw), (_, _, frame) in zip(talk.frames, talk.traffic(), strict=True)
        if frame.payload[0] == CONFIRM
    ]
    before = len(talk.messages(talk.b))
    talk.inject(talk.b, confirm)
    talk.run(1.0)
    assert len(talk.messages(talk.b)) == before + 1
    assert len(talk.b.packets) == 1
    talk.run(9.0)
    talk.inject(talk.b, confirm)
    talk.run(1.0)
    assert len(talk.messages(talk.b)) == before + 1
    assert talk.b.drops == {"confirm_unexpected": 1}


def test_a_responder_that_never_hears_confirm_says_nothing_and_forgets() -> None:
    talk = Conversation()
    talk.wire = lambda side, frame: prompt(side, frame) if side is talk.b or talk.now < BEGIN + 0.05 else []
    talk.send(talk.a, talk.a.packet())
    talk.run(7.6)
    assert kinds(talk, talk.b) == [RESPONSE]
    assert kinds(talk, talk.a) == [INIT] + [CONFIRM] * 4
    assert talk.a.errors == [(1, 3)]
    assert talk.b.endpoint.sessions.counts()["half_open_handshakes"] == 1
    talk.run(2.6)
    assert talk.b.endpoint.sessions.counts()["half_open_handshakes"] == 0
    assert not talk.b.endpoint.sessions.context.indices.owners
