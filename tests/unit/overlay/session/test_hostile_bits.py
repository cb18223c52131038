# SPDX-License-Identifier: Apache-2.0
"""Every single bit of every message, and of the fields of a frame, changed on its way."""

from collections.abc import Iterator

import pytest

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.party import Party
from pineconed.wire.errors import CodecError
from tests.unit.overlay.conversation import BEGIN, DATA, LATENCY, Conversation, Side, decoded, lost

KIND_AT = 5
"""Where a frame's type stands; what comes before tells a stream of frames from something else."""


def flips(data: bytes, start: int = 0) -> Iterator[bytes]:
    """The same with one bit changed, for each bit from that byte on."""
    for bit in range(8 * start, 8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


class Shaking:
    """The parts of a handshake between a and b."""

    def __init__(self) -> None:
        talk = Conversation()
        self.a_key, self.b_key = talk.a.key, talk.b.key
        self.a = Party(talk.a.identity, talk.rng.randbytes)
        self.b = Party(talk.b.identity, talk.rng.randbytes)
        self.initiation = Initiation(self.a, 4711, BEGIN)

    def answer(self, init: bytes) -> Answer:
        return Answer(self.b, self.a_key, init, 4712, b"\0\0", BEGIN)


@pytest.mark.slow
def test_no_changed_init_gets_a_response_that_is_believed() -> None:
    shaking = Shaking()
    answered = 0
    for init in flips(shaking.initiation.message):
        try:
            answer = shaking.answer(init)
        except CodecError:
            continue
        answered += 1
        with pytest.raises(NoiseError):
            shaking.initiation.read_response(shaking.b_key, answer.response)
    assert answered > 5000
    genuine = shaking.answer(shaking.initiation.message).response
    assert shaking.initiation.read_response(shaking.b_key, genuine).remote_index == 4712


def test_no_changed_response_is_believed() -> None:
    shaking = Shaking()
    genuine = shaking.answer(shaking.initiation.message).response
    for changed in flips(genuine, 8):
        with pytest.raises(NoiseError):
            shaking.initiation.read_response(shaking.b_key, changed)
    assert shaking.initiation.read_response(shaking.b_key, genuine).remote_index == 4712


def test_no_changed_confirm_is_believed() -> None:
    shaking = Shaking()
    answer = shaking.answer(shaking.initiation.message)
    response = shaking.initiation.read_response(shaking.b_key, answer.response)
    shaking.initiation.accept(response, b"\0\0", bytes(300), BEGIN)
    genuine = shaking.initiation.confirm
    for changed in flips(genuine, 8):
        with pytest.raises(NoiseError):
            answer.read_confirm(changed, BEGIN)
    session, items = answer.read_confirm(genuine, BEGIN)
    assert session.peer_key == shaking.a_key
    assert items.packet == bytes(300)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_changed_header_of_a_handshake_message_changes_anything(number: int) -> None:
    """INIT, RESPONSE and CONFIRM with another type, or of another index; then the genuine one."""
    talk = Conversation()
    frames: list[tuple[Side, bytes]] = []
    talk.wire = lambda side, frame: frames.append((side, frame)) or []  # type: ignore[func-returns-value]
    talk.send(talk.a, talk.a.packet(1))
    for _ in range(number):
        side, frame = frames.pop()
        talk.inject(side.peer, frame)
        talk.run(0.0)
    side, frame = frames.pop()
    payload_at = len(frame) - len(decoded(frame).payload)
    for changed in flips(frame[: payload_at + 8], payload_at):
        talk.inject(side.peer, changed + frame[payload_at + 8 :])
        talk.run(0.0)
    frames.clear()
    assert talk.a.endpoint.sessions.counts()["sessions"] == 0
    assert talk.b.endpoint.sessions.counts()["sessions"] == 0
    talk.wire = lambda _side, frame: [(0.0, frame)]
    talk.inject(side.peer, frame)
    talk.run(1.0)
    assert talk.b.packets == [talk.a.packet(1)]


def test_no_changed_message_of_a_renewal_is_taken() -> None:
    """Each is DATA, of which every bit counts; then the genuine one comes, and the keys are renewed."""
    talk = Conversation()
    talk.establish()
    before = talk.a.session
    tried = 0

    def shaken(side: Side, frame: bytes) -> list[tuple[float, bytes]]:
        nonlocal tried
        if decoded(frame).payload[0] != DATA:
            return [(LATENCY, frame)]
        payload_at = len(frame) - len(decoded(frame).payload)
        changed = list(flips(frame, payload_at))
        tried += len(changed)
        return [*((0.0, one) for one in changed), (0.0, frame)]

    talk.wire = shaken
    talk.run(before.rekey_at - talk.now + 0.2)
    assert tried > 21_000
    assert talk.a.session is not before
    assert talk.a.session.index == talk.b.session.remote_index
    for side in (talk.a, talk.b):
        assert side.drops.keys() <= {
            "data_forged",
            "data_unknown",
            "data_replayed",
            "hint_ignored",
            "init_refused",
            "message_malformed",
            "message_unknown",
            "payload_quic",
            "payload_unknown",
            "response_unexpected",
            "confirm_unexpected",
        }
        assert side.packets == []


def test_no_changed_field_of_a_frame_changes_what_arrives() -> None:
    """A bit that nothing depends on may have the message arrive, once; the genuine frame comes last."""
    talk = Conversation()
    talk.establish()
    talk.wire = lost
    packet = talk.a.packet(1)
    talk.send(talk.a, packet)
    frame = talk.frames[-1][2]
    payload_at = len(frame) - len(decoded(frame).payload)
    assert frame[payload_at] == DATA
    dropped = 0
    for start in reversed(list(flips(frame[:payload_at], KIND_AT + 1))):
        try:
            talk._arrive(talk.b, start + frame[payload_at:])
        except CodecError:
            dropped += 1
    talk._arrive(talk.b, frame)
    assert dropped > 0
    assert talk.b.packets == [packet]
    assert talk.a.packets == []
    assert talk.b.endpoint.sessions.context.known.coords(talk.a.key[:15], talk.now) == talk.a.coords
    assert talk.b.drops["data_foreign_key"] == 256
    assert talk.b.drops["data_forged"] > 0
