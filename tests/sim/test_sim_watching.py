# SPDX-License-Identifier: Apache-2.0
"""What watches a simulation from outside: tap, crossings and trace; and the cheap signatures."""

from random import Random
from struct import pack

import pytest

from pineconed.sim.signing import CheapScheme, Ed25519Scheme
from pineconed.sim.tap import HANDSHAKE, TRAFFIC, WAKEUP_BROADCAST, Crossings, FrameTap
from pineconed.sim.trace import Trace


def frame(kind: int, payload: bytes = b"", between: bytes = b"") -> bytes:
    """A frame of a payload and what stands before it, by hand."""
    body = pack(">H", len(payload)) + between + payload if kind else b""
    return b"pine" + bytes([0, kind, 0, 0]) + pack(">H", 10 + len(body)) + body


@pytest.mark.parametrize("step", [1, 7, 103, 104, 105, 1000])
def test_the_tap_finds_the_frames_however_the_stream_is_cut(step: int) -> None:
    frames = [frame(0), frame(TRAFFIC, b"payload", b"keys"), frame(0)]
    stream, tap = bytes(104) + b"".join(frames), FrameTap()
    found = [one for at in range(0, len(stream), step) for one in tap.frames(stream[at : at + step])]
    assert found == [(HANDSHAKE, bytes(104)), (0, frames[0]), (TRAFFIC, frames[1]), (0, frames[2])]


def test_crossings_follow_a_payload_whatever_stands_before_it() -> None:
    crossings = Crossings()
    for direction, between in ((4, b"long watermark"), (7, b"short"), (8, b"")):
        crossings.crossed(1.0, TRAFFIC, frame(TRAFFIC, b"payload", between), direction)
    assert crossings.path(TRAFFIC, b"payload") == [4, 7, 8]
    assert crossings.longest[TRAFFIC] == 3
    assert crossings.repeats[TRAFFIC] == 0


def test_crossings_notice_a_loop() -> None:
    crossings = Crossings()
    for direction in (2, 4, 2):
        crossings.crossed(1.0, WAKEUP_BROADCAST, frame(WAKEUP_BROADCAST, b"payload", bytes(32)), direction)
    assert crossings.repeats[WAKEUP_BROADCAST] == 1
    crossings.forget_extremes()
    assert crossings.repeats[WAKEUP_BROADCAST] == 0


def test_crossings_keep_nothing_for_ever_and_paths_that_go_on() -> None:
    crossings = Crossings(lifetime=10.0)
    for now in (11.0, 22.0, 33.0, 44.0):
        crossings.crossed(now, TRAFFIC, frame(TRAFFIC, b"on its way"), int(now))
    crossings.crossed(11.0, TRAFFIC, frame(TRAFFIC, b"arrived"), 1)
    assert crossings.path(TRAFFIC, b"on its way") == [11, 22, 33, 44]
    crossings.crossed(55.0, TRAFFIC, frame(TRAFFIC, b"another"), 1)
    crossings.crossed(66.0, TRAFFIC, frame(TRAFFIC, b"another"), 1)
    assert crossings.path(TRAFFIC, b"arrived") == []


def test_the_digest_depends_on_everything_that_is_traced() -> None:
    digests = set()
    for now, direction, kind, size, what in (
        (1.0, 2, 3, 4, "x"),
        (1.5, 2, 3, 4, "x"),
        (1.0, 3, 3, 4, "x"),
        (1.0, 2, 2, 4, "x"),
        (1.0, 2, 3, 5, "x"),
        (1.0, 2, 3, 4, "y"),
    ):
        trace = Trace(keep_lines=True)
        trace.frame(now, direction, kind, size)
        trace.decision(now, 0, what)
        digests.add(trace.digest())
        assert trace.lines is not None
        assert len(trace.lines) == 2
    assert len(digests) == 6


def test_the_trace_counts_frames_and_bytes_by_type() -> None:
    trace = Trace()
    trace.frame(1.0, 0, TRAFFIC, 100)
    trace.frame(2.0, 0, TRAFFIC, 50)
    assert (trace.frame_counts[TRAFFIC], trace.byte_counts[TRAFFIC], trace.lines) == (2, 150, None)


@pytest.mark.parametrize("kind", [CheapScheme, Ed25519Scheme])
def test_signatures_hold_for_their_key_and_message_only(kind: type[CheapScheme | Ed25519Scheme]) -> None:
    scheme = kind(Random(1))
    alice, bob = scheme.signer(), scheme.signer()
    signature = alice.sign(b"message")
    assert len(signature) == 64
    assert scheme.verifier(alice.public_key, b"message", signature)
    assert not scheme.verifier(bob.public_key, b"message", signature)
    assert not scheme.verifier(alice.public_key, b"another", signature)
    assert not scheme.verifier(alice.public_key, b"message", bytes(64))


@pytest.mark.parametrize("kind", [CheapScheme, Ed25519Scheme])
def test_keys_depend_on_the_seed_only(kind: type[CheapScheme | Ed25519Scheme]) -> None:
    first, again, other = (kind(Random(seed)).signer().public_key for seed in (1, 1, 2))
    assert first == again != other
