# SPDX-License-Identifier: Apache-2.0
"""One peering's machine: handshake, framing, keepalives and time-outs, at exact times."""

import pytest

from pineconed.peering.peering import KEEPALIVE, Peering, PeeringTimeoutError
from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.errors import CodecError
from pineconed.wire.handshake import HandshakeError

PEER = Ed25519Signer(bytes(range(32)))


def greeted(now: float = 100.0) -> Peering:
    peering = Peering(now)
    assert peering.read_handshake(memoryview(Peering.greeting(PEER)), verify_ed25519, now) == 104
    return peering


def test_handshake_may_come_byte_by_byte() -> None:
    peering = Peering(0.0)
    for byte in Peering.greeting(PEER):
        assert peering.public_key is None
        assert peering.read_handshake(memoryview(bytes([byte])), verify_ed25519, 1.0) == 1
    assert peering.public_key == PEER.public_key


def test_handshake_takes_no_byte_of_what_follows() -> None:
    peering = Peering(0.0)
    stream = memoryview(Peering.greeting(PEER) + KEEPALIVE)
    assert peering.read_handshake(stream, verify_ed25519, 0.0) == 104
    frames, consumed = peering.split(stream[104:], 256, 0.0)
    assert (list(map(bytes, frames)), consumed) == ([KEEPALIVE], 10)


def test_forged_handshake_is_refused() -> None:
    forged = bytearray(Peering.greeting(PEER))
    forged[1] ^= 1
    with pytest.raises(HandshakeError, match="bad signature"):
        Peering(0.0).read_handshake(memoryview(forged), verify_ed25519, 0.0)


def test_handshake_has_ten_seconds() -> None:
    peering = Peering(100.0)
    assert peering.deadline() == 110.0
    peering.read_handshake(memoryview(b"\1"), verify_ed25519, 109.9)
    assert peering.check(109.9) is False
    with pytest.raises(PeeringTimeoutError, match="1 of 104 bytes"):
        peering.check(110.0)


def test_keepalive_is_due_after_three_seconds_without_sending() -> None:
    peering = greeted(100.0)
    assert peering.deadline() == 103.0
    assert peering.check(102.9) is False
    assert peering.check(103.0) is True


def test_silence_of_five_seconds_ends_it_and_any_byte_is_life() -> None:
    peering = greeted(100.0)
    peering.split(memoryview(KEEPALIVE[:1]), 256, 104.0)
    peering.last_sent = 108.0
    assert peering.deadline() == 109.0
    assert peering.check(108.9) is False
    with pytest.raises(PeeringTimeoutError, match="silent for 5 s") as timeout:
        peering.check(109.0)
    assert timeout.value.remote_fault is False


def test_frame_that_trickles_ends_it_after_a_minute() -> None:
    peering = greeted(100.0)
    frame = memoryview(b"pine" + bytes([0, 9, 0, 0, 255, 255]) + bytes(65525))
    for second in range(60):
        peering.split(frame[second : second + 1], 256, 100.0 + second)
        peering.last_sent = 100.0 + second
        assert peering.check(100.0 + second) is False
    peering.last_sent = 160.0
    assert peering.deadline() == 160.0
    with pytest.raises(PeeringTimeoutError, match="one frame took more than 60 s") as timeout:
        peering.check(160.0)
    assert timeout.value.remote_fault is True


def test_a_finished_frame_starts_the_minute_anew() -> None:
    peering = greeted(100.0)
    peering.split(memoryview(KEEPALIVE[:4]), 256, 100.0)
    peering.split(memoryview(KEEPALIVE[4:] + KEEPALIVE[:4]), 256, 130.0)
    peering.last_heard = peering.last_sent = 188.0
    assert peering.deadline() == 190.0
    peering.split(memoryview(KEEPALIVE[4:]), 256, 188.0)
    assert peering.deadline() == 191.0


def test_bad_header_is_a_codec_error() -> None:
    with pytest.raises(CodecError):
        greeted().split(memoryview(b"GET / HTTP/1.1\r\n"), 256, 100.0)
