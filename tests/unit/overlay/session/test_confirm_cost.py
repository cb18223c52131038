# SPDX-License-Identifier: Apache-2.0
"""What CONFIRMs cost that are refused: none of them has us agree on keys again."""

from dataclasses import dataclass

import pytest

from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.noise.primitives import X25519, KeyPair
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.message import pad_init
from pineconed.overlay.session.party import Party
from tests.unit.overlay.conversation import CONFIRM, LATENCY, Conversation, Deliveries, Side, decoded, prompt
from tests.unit.overlay.hostile import MALLORY, frame_of


class Agreements:
    """Counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        agree = Handshake._agree

        def counting(handshake: Handshake, token: object) -> bytes:
            self.count += 1
            return agree(handshake, token)  # type: ignore[arg-type]

        monkeypatch.setattr(Handshake, "_agree", counting)


def test_a_flood_of_altered_confirms_before_the_genuine_one(monkeypatch: pytest.MonkeyPatch) -> None:
    agreements = Agreements(monkeypatch)
    talk = Conversation()

    def flood(side: Side, frame: bytes) -> Deliveries:
        if decoded(frame).payload[0] != CONFIRM:
            return prompt(side, frame)
        altered = (frame[:-4] + number.to_bytes(4) for number in range(300))
        return [*((LATENCY, one) for one in altered), (LATENCY, frame)]

    talk.wire = flood
    packet = talk.a.packet()
    talk.send(talk.a, packet)
    talk.run(1.0)
    assert talk.b.packets == [packet]
    assert talk.b.drops == {"confirm_refused": 300}
    assert agreements.count == 6


class ZeroKey:
    """A static key that shares nothing."""

    public = bytes(32)

    def exchange(self, public: bytes) -> bytes:
        return bytes(32)


@dataclass
class Claimant:
    """Somebody whose static key is not what the Ed25519 key converts to."""

    public_key: bytes
    static: KeyPair

    def static_of(self, public_key: bytes) -> bytes:
        return MALLORY.static_of(public_key)


@pytest.mark.parametrize("static", [ZeroKey(), X25519().key_pair(b"s" * 32)])
def test_an_initiator_has_one_confirm_refused_and_no_more_are_read(
    static: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation()
    party = Party(Claimant(MALLORY.public_key, static), talk.rng.randbytes)
    initiation = Initiation(party, 5, talk.now)
    talk.inject(talk.b, frame_of(MALLORY.public_key, talk.b, pad_init(initiation.message)))
    talk.run(0.01)
    response = initiation.read_response(talk.b.key, talk.traffic()[-1][2].payload)
    agreements = Agreements(monkeypatch)
    for number in range(50):
        again = Initiation.__new__(Initiation)
        again._party, again.index = party, 5
        again.begun_at = talk.now
        copy = type(response)(response.handshake.copy(), response.items, response.remote_index)
        again.accept(copy, None, number.to_bytes(4), talk.now)
        talk.inject(talk.b, frame_of(MALLORY.public_key, talk.b, again.confirm))
    written = agreements.count
    talk.run(0.01)
    assert talk.b.drops == {"confirm_refused": 50}
    assert agreements.count == written + 1
