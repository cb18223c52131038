# SPDX-License-Identifier: Apache-2.0
"""One bad peer after the other against a node whose honest peering must stay as it is.

What ends a peering and what is only dropped follows the protocol notes, sections 2 to 5; every end and every
kind of drop shows in the log as one line.
"""

import os
import threading
import time
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pineconed.signing import Ed25519Signer
from pineconed.wire.announcement import Announcement, Hop, append_hop, encode_announcement
from pineconed.wire.frame import (
    BootstrapFrame,
    FrameType,
    Keepalive,
    TrafficFrame,
    encode_frame,
)
from pineconed.wire.root import Root, encode_root
from pineconed.wire.signed_payload import encode_payload, sign_payload, signed_bytes
from pineconed.wire.watermark import FULL
from tests.bad_peers.client import (
    BadPeer,
    announcement_frame,
    bootstrap_frame,
    handshake,
    own_announcement,
    raw_frame,
    unix_ms,
)
from tests.bad_peers.conftest import TARGET_SEED, Target

pytestmark = [pytest.mark.root, pytest.mark.netns]

OneLine = Callable[[str], None]
LOW_KEY = Ed25519Signer(bytes(31) + b"\x04")
"""A signer with a key lower than that of the network's root, so that nobody follows what it announces."""

IDENTITY = b"\x01" + bytes(31)
"""The neutral element of the curve: the best known key of small order."""
NON_CANONICAL_IDENTITY = bytes.fromhex("ee" + "ff" * 30 + "7f")
"""The same point with its y coordinate written as 1 + p."""
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


# -- handshakes that end the peering


def changed(handshake_bytes: bytes, at: int) -> bytes:
    return handshake_bytes[:at] + bytes([handshake_bytes[at] ^ 1]) + handshake_bytes[at + 1 :]


TARGET = Ed25519Signer(TARGET_SEED)
BAD_HANDSHAKES = {
    "garbage": (os.urandom(4096), "version|handshake"),
    "wrong version": (handshake(LOW_KEY, version=2), "version 2"),
    "wrong capabilities": (handshake(LOW_KEY, capabilities=0x3F), "capabilities 0x3f"),
    "bad signature": (changed(handshake(LOW_KEY), 60), "bad signature"),
    "our own key": (handshake(TARGET), "own key"),
    "an altered unused byte": (changed(handshake(LOW_KEY), 2), "bad signature"),
}


@pytest.mark.parametrize("kind", BAD_HANDSHAKES)
def test_bad_handshake_is_closed(target: Target, one_line: OneLine, kind: str) -> None:
    data, cause = BAD_HANDSHAKES[kind]
    with target.connect() as peer:
        peer.send(data)
        peer.wait_closed(2)
    one_line(cause)


def identity_handshake(public_key: bytes, s: int = 0) -> bytes:
    """Sign a handshake with a key of small order: R is the neutral element and S is s."""
    head = handshake(LOW_KEY, public_key=public_key)[:40]
    return head + IDENTITY + s.to_bytes(32, "little")


ODD_KEYS = {
    "small order": identity_handshake(IDENTITY),
    "non-canonical": identity_handshake(NON_CANONICAL_IDENTITY),
    "non-canonical and not signed": identity_handshake(NON_CANONICAL_IDENTITY, 1),
    "S above the group order": identity_handshake(IDENTITY, GROUP_ORDER),
    "no point": identity_handshake(b"\x02" + bytes(31)),
}


def openssl_accepts(data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(data[8:40]).verify(data[40:104], data[:40])
    except InvalidSignature:
        return False
    return True


def test_odd_keys_cover_both_verdicts() -> None:
    assert {openssl_accepts(data) for data in ODD_KEYS.values()} == {True, False}


@pytest.mark.parametrize("kind", ODD_KEYS)
def test_odd_keys_get_the_verdict_of_openssl(target: Target, kind: str) -> None:
    data = ODD_KEYS[kind]
    with target.connect() as peer:
        peer.send(data)
        peer.node_key = peer.read_handshake()
        peer.listen()
        if openssl_accepts(data):
            peer.wait(lambda: bool(peer.announcements()), 2, "an announcement")
            assert peer.still_open
        else:
            peer.wait_closed(2)


# -- frames that end the peering

HEADERS = {
    "no magic bytes": (b"spam" + raw_frame(0)[4:], "magic"),
    "frame length 0": (raw_frame(0, length=0), "length"),
    "frame length 9": (raw_frame(0, length=9), "length"),
    "payload longer than the frame": (raw_frame(1, b"\xff\xff" + bytes(40)), "bytes whose fields end at"),
    "traffic with bytes left over": (
        raw_frame(3, bytes(2 + 4 + 64) + FULL.public_key + b"\x00" + b"rest"),
        "lengths do not add up",
    ),
    "coords cut off": (raw_frame(3, bytes(2) + b"\x00\x01\x80" + bytes(2 + 64)), "varu64|coord|integer|cut"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_frame_that_does_not_parse_ends_the_peering(target: Target, one_line: OneLine, kind: str) -> None:
    data, cause = HEADERS[kind]
    with low_peer(target) as peer:
        peer.send(data)
        peer.wait_closed(2)
    one_line(cause)


def hops(announcement: Announcement, *changed_hops: Hop) -> bytes:
    return announcement_frame(Announcement(announcement.root, changed_hops))


def with_bad_signature(peer: BadPeer) -> bytes:
    (hop,) = own_announcement(peer.signer, 2).hops
    return hops(own_announcement(peer.signer, 2), hop._replace(signature=changed(hop.signature, 5)))


def with_signer_twice(peer: BadPeer) -> bytes:
    other = Ed25519Signer(os.urandom(32))
    chain = append_hop(own_announcement(other), 1, peer.signer)
    return announcement_frame(append_hop(append_hop(chain, 2, other), 3, peer.signer))


def with_port_zero(peer: BadPeer) -> bytes:
    return announcement_frame(own_announcement(peer.signer, 2, port=0))


def with_old_sequence(peer: BadPeer) -> bytes:
    return announcement_frame(own_announcement(peer.signer, 5)) + announcement_frame(
        own_announcement(peer.signer, 4)
    )


def with_other_last_signer(peer: BadPeer) -> bytes:
    return announcement_frame(own_announcement(Ed25519Signer(os.urandom(32)), 2))


def with_other_first_signer(peer: BadPeer) -> bytes:
    stranger = Ed25519Signer(os.urandom(32))
    return announcement_frame(append_hop(Announcement(Root(stranger.public_key, 1), ()), 1, peer.signer))


def without_hops(peer: BadPeer) -> bytes:
    return announcement_frame(Announcement(Root(peer.signer.public_key, 2), ()))


def with_long_varint(peer: BadPeer) -> bytes:
    root = encode_root(Root(peer.signer.public_key, 2))
    payload = (
        peer.signer.public_key
        + b"\x80\x02"
        + encode_announcement(own_announcement(peer.signer, 2))[len(root) :]
    )
    return raw_frame(1, len(payload).to_bytes(2) + payload)


BAD_ANNOUNCEMENTS = {
    "bad signature": (with_bad_signature, "signature"),
    "loop": (with_signer_twice, "twice|loop"),
    "port 0": (with_port_zero, "port 0"),
    "old sequence": (with_old_sequence, "sequence"),
    "forged last signer": (with_other_last_signer, "last signer"),
    "forged first signer": (with_other_first_signer, "not begun by its root"),
    "no hop": (without_hops, "hop"),
    "non-minimal varint": (with_long_varint, "minimal"),
}


@pytest.mark.parametrize("kind", BAD_ANNOUNCEMENTS)
def test_bad_announcement_ends_the_peering(target: Target, one_line: OneLine, kind: str) -> None:
    build, cause = BAD_ANNOUNCEMENTS[kind]
    with low_peer(target) as peer:
        peer.send(build(peer))
        peer.wait_closed(2)
    one_line(cause)


# -- what is dropped or accepted while the peering lives on


def assert_lives(target: Target, peer: BadPeer, version: int = 0) -> None:
    """Send a bootstrap that the node must store: it still reads what this peer sends."""
    sleeper = Ed25519Signer(low_seed())
    frame = bootstrap_frame(sleeper, peer.root)
    peer.send(frame[:4] + bytes([version]) + frame[5:])
    peer.wait(lambda: stored(target, sleeper.public_key), 5, "a bootstrap to be stored")
    assert peer.still_open


def stored(target: Target, public_key: bytes) -> bool:
    return public_key.hex() in str(target.node.ctl("snake"))


def low_peer(target: Target) -> BadPeer:
    return target.connect(Ed25519Signer(low_seed())).join()


def low_seed() -> bytes:
    """Return a random seed whose key is below the root's."""
    while True:
        seed = os.urandom(32)
        if Ed25519Signer(seed).public_key[0] < 0xC0:
            return seed


def test_unknown_frame_type_is_dropped(target: Target, one_line: OneLine) -> None:
    with low_peer(target) as peer:
        peer.send(raw_frame(200, b"an extension of tomorrow") * 3)
        assert_lives(target, peer)
    one_line("unknown")


def test_frames_of_version_7_are_taken(target: Target) -> None:
    with low_peer(target) as peer:
        payload = encode_announcement(own_announcement(peer.signer, 9))
        peer.send(raw_frame(0, version=7))
        peer.send(raw_frame(1, len(payload).to_bytes(2) + payload, version=7))
        assert_lives(target, peer, version=7)


def test_own_key_among_the_signers_is_no_offence(target: Target) -> None:
    root = Ed25519Signer(low_seed())
    with low_peer(target) as peer:
        chain = append_hop(append_hop(own_announcement(root), 1, TARGET), 2, peer.signer)
        peer.send(announcement_frame(chain))
        assert_lives(target, peer)


def test_bootstrap_with_a_bad_signature_is_dropped(target: Target, one_line: OneLine) -> None:
    with low_peer(target) as peer:
        frame = bootstrap_frame(Ed25519Signer(low_seed()), peer.root)
        peer.send(frame[:-1] + bytes([frame[-1] ^ 1]))
        assert_lives(target, peer)
    one_line("bootstrap.*signature|signature.*bootstrap")


def test_non_minimal_varint_in_a_bootstrap_is_dropped(target: Target) -> None:
    with low_peer(target) as peer:
        sleeper = Ed25519Signer(low_seed())
        good = encode_payload(sign_payload(7, peer.root, sleeper))
        peer.send(encode_frame(BootstrapFrame(sleeper.public_key, FULL, b"\x80" + good)))
        assert_lives(target, peer)
        assert not stored(target, sleeper.public_key)


def test_non_minimal_varint_in_coords_is_accepted(target: Target) -> None:
    with low_peer(target) as peer:
        frame = encode_frame(TrafficFrame((5,), (6,), os.urandom(32), peer.signer.public_key, FULL, b"hello"))
        peer.send(
            frame.replace(b"\x00\x01\x05\x00\x01\x06", b"\x00\x02\x80\x05\x00\x02\x80\x06").replace(
                frame[8:10], (len(frame) + 2).to_bytes(2), 1
            )
        )
        assert_lives(target, peer)


def test_small_order_key_among_the_hops_is_judged_as_openssl_does(target: Target) -> None:
    """A hop signed by the neutral element: the reference accepts it, so the honest relay must not be cut."""
    root = Ed25519Signer(low_seed())
    with low_peer(target) as peer:
        first = own_announcement(root, 3)
        message = encode_announcement(first)
        odd = Hop(1, IDENTITY, IDENTITY + bytes(32))
        Ed25519PublicKey.from_public_bytes(IDENTITY).verify(odd.signature, message)
        chain = Announcement(first.root, (*first.hops, odd))
        peer.send(announcement_frame(append_hop(chain, 1, peer.signer)))
        assert_lives(target, peer)


def test_bootstrap_of_a_small_order_key_is_taken(target: Target) -> None:
    with low_peer(target) as peer:
        sequence = unix_ms()
        Ed25519PublicKey.from_public_bytes(IDENTITY).verify(
            IDENTITY + bytes(32), signed_bytes(sequence, peer.root)
        )
        signed = encode_payload(sign_payload(sequence, peer.root, peer.signer))[:-64] + IDENTITY + bytes(32)
        peer.send(encode_frame(BootstrapFrame(IDENTITY, FULL, signed)))
        assert_lives(target, peer)
        assert stored(target, IDENTITY)


def test_wakeup_broadcast_with_a_bad_signature_is_dropped(target: Target) -> None:
    with low_peer(target) as peer:
        peer.send(raw_frame(FrameType.WAKEUP_BROADCAST, b"\x00\x70" + os.urandom(32 + 0x70)))
        peer.send(raw_frame(FrameType.WAKEUP_BROADCAST, b"\x00\x05" + os.urandom(32 + 5)))
        assert_lives(target, peer)


# -- slow ones: all at once, each with its own limit

SLOW: dict[str, tuple[Callable[[Target], BadPeer], Callable[[BadPeer], None], float, float]] = {}


def slow(
    kind: str, joined: bool, at_least: float, at_most: float
) -> Callable[[Callable[[BadPeer], None]], None]:
    """Register a slow peer: whether it completes the handshake and when it must be cut, in seconds."""

    def register(act: Callable[[BadPeer], None]) -> None:
        SLOW[kind] = (quiet_peer if joined else Target.connect, act, at_least, at_most)

    return register


def quiet_peer(target: Target) -> BadPeer:
    peer = target.connect()
    peer.shake_hands()
    peer.listen()
    return peer


def trickle(peer: BadPeer, data: bytes) -> None:
    """Send one byte a second until the node hangs up."""
    for position in range(len(data)):
        if not peer.still_open:
            return
        try:
            peer.send(data[position : position + 1])
        except OSError:
            return
        time.sleep(1)


@slow("silence from the beginning", joined=False, at_least=9, at_most=11.5)
def _(peer: BadPeer) -> None:
    peer.listen()


@slow("a handshake of one byte a second", joined=False, at_least=9, at_most=11.5)
def _(peer: BadPeer) -> None:
    peer.listen()
    trickle(peer, handshake(peer.signer))


@slow("silence after the handshake", joined=True, at_least=4.5, at_most=6.5)
def _(peer: BadPeer) -> None:
    pass


@slow("frame length 65535 with less behind it", joined=True, at_least=4.5, at_most=6.5)
def _(peer: BadPeer) -> None:
    peer.send(raw_frame(3, bytes(100), length=65535))


@slow("a frame that trickles", joined=True, at_least=55, at_most=63)
def _(peer: BadPeer) -> None:
    trickle(peer, raw_frame(3, bytes(100), length=65535) + bytes(80))


@slow("keepalives, but one byte a second", joined=True, at_least=20, at_most=26)
def _(peer: BadPeer) -> None:
    trickle(peer, encode_frame(Keepalive()) * 2)
    peer.close()


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_slow_peers_are_cut_in_time(target: Target) -> None:
    mark = target.lines()
    times: dict[str, float] = {}
    threads = [threading.Thread(target=run_slow, args=(target, kind, times)) for kind in SLOW]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    for kind, (_, _, at_least, at_most) in SLOW.items():
        print(f"{kind}: cut after {times.get(kind, -1):.1f} s")
        assert at_least <= times[kind] <= at_most, kind
    causes = [line for line in target.log_since(mark) if "handshake" in line or "silen" in line]
    assert len(causes) >= len(SLOW) - 2, target.log_since(mark)


def run_slow(target: Target, kind: str, times: dict[str, float]) -> None:
    make, act, _, at_most = SLOW[kind]
    with make(target) as peer:
        act(peer)
        times[kind] = peer.wait_closed(at_most + 5)
