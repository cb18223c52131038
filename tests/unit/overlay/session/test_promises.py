# SPDX-License-Identifier: Apache-2.0
"""Single sentences of docs/sessions.md that no other test holds the code to."""

import pytest

from pineconed.overlay.session.message import INIT_LENGTH, encode_unknown
from pineconed.overlay.session.waiting import MAX_BYTES, TOTAL_BYTES
from tests.unit.overlay.conversation import BEGIN, INIT, RESPONSE, Conversation, kinds, lost
from tests.unit.overlay.hostile import frame_of, invented
from tests.unit.overlay.packets import ipv6, ports


@pytest.mark.parametrize("length", [8, 1224, INIT_LENGTH - 1, INIT_LENGTH + 1])
def test_an_init_of_another_length_is_dropped(length: int) -> None:
    """So no answer is longer than its question."""
    talk = Conversation()
    init = invented(talk.rng).ljust(length, b"\0")[:length]
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, init))
    talk.run(1.0)
    assert talk.frames == []
    assert talk.b.drops == {"message_malformed": 1}


@pytest.mark.parametrize(
    "message",
    [
        lambda talk: invented(talk.rng),
        lambda talk: b"\2\0\0\0" + talk.b.session.index.to_bytes(4) + bytes(1300),
        lambda talk: b"\3\0\0\0" + talk.b.session.index.to_bytes(4) + bytes(200),
        lambda talk: b"\4\0\0\0" + talk.b.session.index.to_bytes(4) + (1 << 20).to_bytes(8) + bytes(40),
        lambda talk: encode_unknown(talk.a.session.index, talk.b.session.sent - 1),
        lambda talk: ipv6(talk.a.address, talk.b.address, ports(1, 2)),
    ],
    ids=["INIT", "RESPONSE", "CONFIRM", "DATA", "UNKNOWN", "bare"],
)
def test_coords_that_nobody_proved_are_not_believed(message: object) -> None:
    talk = Conversation()
    talk.establish()
    known = talk.b.endpoint.sessions.context.known
    assert callable(message)
    talk.inject(talk.b, frame_of(talk.a.key, talk.b, message(talk), coords=(7,)))
    talk.run(0.01)
    assert known.coords(talk.a.key[:15], talk.now) == (1,)


@pytest.mark.parametrize(("offered", "largest"), [(0, 1280), (1279, 1280), (1281, 1281), (1500, 1500)])
def test_a_peer_takes_at_least_1280_bytes(offered: int, largest: int) -> None:
    talk = Conversation(b={"mtu": offered})
    talk.ping(talk.a, b"dial")
    talk.run(1.0)
    fits, too_big = talk.a.packet(1, largest - 48), talk.a.packet(2, largest - 47)
    talk.send(talk.a, fits, too_big)
    talk.run(0.1)
    assert talk.b.packets == [fits]
    assert talk.a.errors == [(2, 0)]
    assert int.from_bytes(talk.a.inbox[-1][44:48]) == largest


def test_what_waits_for_all_handshakes_together_is_bounded() -> None:
    talk = Conversation()
    talk.wire = lost
    large = bytes(60_000)
    for number in range(TOTAL_BYTES // MAX_BYTES + 8):
        address = b"\xfd" + number.to_bytes(15)
        talk.send(talk.a, *[ipv6(talk.a.address, address, large)] * 4)
    dialler = talk.a.endpoint.sessions.dialler
    waiting = sum(len(attempt.waiting.packets) for attempt in dialler.attempts.values())
    assert waiting == TOTAL_BYTES // len(ipv6(talk.a.address, bytes(16), large))
    assert talk.a.drops == {"out_waiting_full": 4 * (TOTAL_BYTES // MAX_BYTES + 8) - waiting}
    talk.run(9.0)
    assert dialler.attempts == {}
    assert talk.a.drops["out_unreachable"] == waiting


def test_keys_of_five_minutes_of_talk_are_never_older_than_three() -> None:
    talk = Conversation()
    talk.establish()
    while talk.now < BEGIN + 300:
        talk.send(talk.a, talk.a.packet())
        talk.run(1.0)
        assert talk.now - talk.a.session.created_at < 180
    assert INIT not in kinds(talk, talk.a)
    assert RESPONSE not in kinds(talk, talk.b)
