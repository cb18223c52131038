# SPDX-License-Identifier: Apache-2.0
"""The handshake: against another implementation, hybrid, and with everything that can be wrong."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.noise.pattern import XX, XXHFS, Pattern
from pineconed.overlay.noise.primitives import X25519, MlKem768, Suite

SUITE = Suite(X25519(), MlKem768())
ENTROPY = Random(7).randbytes
STATICS = SUITE.dh.key_pair(b"initiator's static key, 32 bytes"), SUITE.dh.key_pair(bytes(range(32)))


def _side(pattern: Pattern, *, initiator: bool, prologue: bytes = b"prologue") -> Handshake:
    return Handshake(pattern, SUITE, STATICS[0 if initiator else 1], prologue, initiator=initiator)


def _pair(pattern: Pattern) -> tuple[Handshake, Handshake]:
    return _side(pattern, initiator=True), _side(pattern, initiator=False)


def _independent(private: bytes, *, initiator: bool) -> NoiseConnection:
    other = NoiseConnection.from_name(XX.protocol_name)
    other.set_prologue(b"prologue")
    other.set_keypair_from_private_bytes(Keypair.STATIC, private)
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.start_handshake()
    return other


def test_with_an_independent_responder() -> None:
    ours, other = _side(XX, initiator=True), _independent(bytes(range(32)), initiator=False)
    assert other.read_message(ours.write_message(b"one", ENTROPY)) == b"one"
    assert ours.read_message(bytes(other.write_message(b"two"))) == b"two"
    assert other.read_message(ours.write_message(b"three", ENTROPY)) == b"three"
    assert ours.remote_static == STATICS[1].public
    _same_keys(ours, other)


def test_with_an_independent_initiator() -> None:
    ours, other = (
        _side(XX, initiator=False),
        _independent(b"initiator's static key, 32 bytes", initiator=True),
    )
    assert ours.read_message(bytes(other.write_message(b"one"))) == b"one"
    assert other.read_message(ours.write_message(b"two", ENTROPY)) == b"two"
    assert ours.read_message(bytes(other.write_message(b"three"))) == b"three"
    assert ours.remote_static == STATICS[0].public
    _same_keys(ours, other)


def _same_keys(ours: Handshake, other: NoiseConnection) -> None:
    protocol = other.noise_protocol
    assert ours.split() == (protocol.cipher_state_decrypt.k, protocol.cipher_state_encrypt.k)
    assert ours.hash == other.get_handshake_hash()


@pytest.mark.parametrize(("pattern", "sizes"), [(XX, (32, 96, 64)), (XXHFS, (1216, 1200, 64))])
def test_a_whole_handshake_and_its_sizes(pattern: Pattern, sizes: tuple[int, ...]) -> None:
    initiator, responder = _pair(pattern)
    messages = []
    for writer, reader, payload in (
        (initiator, responder, b""),
        (responder, initiator, b"two"),
        (initiator, responder, b"three"),
    ):
        assert not writer.finished
        messages.append(writer.write_message(payload, ENTROPY))
        assert reader.read_message(messages[-1]) == payload
    assert tuple(map(len, messages)) == (sizes[0], sizes[1] + 3, sizes[2] + 5)
    assert initiator.finished
    assert responder.finished
    assert initiator.split() == responder.split()[::-1]
    assert initiator.hash == responder.hash
    assert initiator.remote_static == STATICS[1].public
    assert responder.remote_static == STATICS[0].public


def test_two_handshakes_share_nothing() -> None:
    keys = set()
    for _ in range(2):
        initiator, responder = _pair(XXHFS)
        _exchange(initiator, responder)
        keys |= {*initiator.split()}
    assert len(keys) == 4


def _exchange(initiator: Handshake, responder: Handshake) -> None:
    responder.read_message(initiator.write_message(b"", ENTROPY))
    initiator.read_message(responder.write_message(b"", ENTROPY))
    responder.read_message(initiator.write_message(b"", ENTROPY))


def test_another_prologue() -> None:
    initiator, responder = _side(XX, initiator=True), _side(XX, initiator=False, prologue=b"another")
    responder.read_message(initiator.write_message(b"", ENTROPY))
    with pytest.raises(NoiseError):
        initiator.read_message(responder.write_message(b"", ENTROPY))


@given(st.integers(0, 8 * 1203 - 1))
def test_a_flipped_bit_of_the_response_is_refused_and_the_genuine_one_then_read(bit: int) -> None:
    initiator, responder = _pair(XXHFS)
    responder.read_message(initiator.write_message(b"", ENTROPY))
    genuine = responder.write_message(b"two", ENTROPY)
    forged = bytearray(genuine)
    forged[bit // 8] ^= 1 << bit % 8
    attempt = initiator.copy()
    if bit == 8 * 31 + 7:  # X25519 ignores the top bit of a key; the hash does not
        assert bytes(forged) != genuine
    with pytest.raises(NoiseError):
        attempt.read_message(bytes(forged))
    assert initiator.read_message(genuine) == b"two"


@given(st.integers(0, 8 * 69 - 1))
def test_a_flipped_bit_of_the_confirmation_is_refused_and_the_genuine_one_then_read(bit: int) -> None:
    initiator, responder = _pair(XXHFS)
    responder.read_message(initiator.write_message(b"", ENTROPY))
    initiator.read_message(responder.write_message(b"", ENTROPY))
    genuine = initiator.write_message(b"three", ENTROPY)
    forged = bytearray(genuine)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoiseError):
        responder.copy().read_message(bytes(forged))
    assert responder.read_message(genuine) == b"three"
    assert responder.split() == initiator.split()[::-1]


@pytest.mark.parametrize("pattern", [XX, XXHFS])
def test_messages_cut_off(pattern: Pattern) -> None:
    initiator, responder = _pair(pattern)
    first = initiator.write_message(b"", ENTROPY)
    for length in (0, 31, len(first) - 1):
        with pytest.raises(NoiseError):
            responder.copy().read_message(first[:length])
    responder.read_message(first)
    second = responder.write_message(b"", ENTROPY)
    for length in range(0, len(second), 7):
        with pytest.raises(NoiseError):
            initiator.copy().read_message(second[:length])


def test_a_key_that_shares_nothing() -> None:
    initiator, responder = _pair(XX)
    initiator.write_message(b"", ENTROPY)
    responder.read_message(bytes(32))
    with pytest.raises(NoiseError, match="shares nothing"):
        responder.write_message(b"", ENTROPY)


def test_what_is_no_kem_key() -> None:
    responder = _side(XXHFS, initiator=False)
    responder.read_message(SUITE.dh.key_pair(bytes(31) + b"\x09").public + b"\xff" * 1184)
    with pytest.raises(NoiseError, match="public key"):
        responder.write_message(b"", ENTROPY)


def test_what_is_no_kem_ciphertext() -> None:
    with pytest.raises(NoiseError, match="ciphertext"):
        MlKem768().key_pair(bytes(64)).decapsulate(b"short")


def test_out_of_turn() -> None:
    initiator, responder = _pair(XX)
    with pytest.raises(ValueError, match="turn"):
        responder.write_message(b"", ENTROPY)
    with pytest.raises(ValueError, match="turn"):
        initiator.read_message(bytes(32))
    with pytest.raises(ValueError, match="not finished"):
        initiator.split()
    _exchange(initiator, responder)
    with pytest.raises(ValueError, match="turn"):
        responder.write_message(b"", ENTROPY)


def test_a_hybrid_pattern_needs_a_kem() -> None:
    side = Handshake(XXHFS, Suite(X25519()), STATICS[0], b"", initiator=True)
    with pytest.raises(ValueError, match="lacks"):
        side.write_message(b"", ENTROPY)
