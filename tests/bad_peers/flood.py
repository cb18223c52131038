# SPDX-License-Identifier: Apache-2.0
"""Floods: frames made and signed ahead of time, sent at a stated rate by a process of their own.

    python -m tests.bad_peers.flood KIND HOST PORT RATE SECONDS

The process joins as a peer, learns the root, makes its frames, says `ready`, and begins when a line comes on
its standard input. It sends in slices of ten milliseconds and prints as its last line a JSON object with the
frames sent, the seconds that took, and the rate reached. A node that stops reading makes the rate fall.
"""

import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from pineconed.signing import Ed25519Signer
from pineconed.wire.announcement import Announcement, Hop
from pineconed.wire.frame import (
    BootstrapFrame,
    TrafficFrame,
    WakeupBroadcastFrame,
    encode_frame,
)
from pineconed.wire.root import Root, encode_root
from pineconed.wire.signed_payload import SignedPayload, encode_payload, signed_bytes
from pineconed.wire.watermark import FULL
from tests.bad_peers.client import BadPeer, announcement_frame, own_announcement, unix_ms

SLICE_SECONDS = 0.01
COORDS_BYTES = 60_000
MOST_HOPS = 670
PREPARED_CHAINS = 40
"""Long announcements made ahead (0.1 s each), with as many roots, and then repeated."""


class Invented:
    """Keys that nobody ever held before, made cheaply: a counter serves as the seed."""

    def __init__(self) -> None:
        self._numbers = itertools.count(int.from_bytes(os.urandom(6)) << 64)

    def pair(self) -> tuple[bytes, bytes]:
        """Return a new public key and its secret key."""
        return crypto_sign_seed_keypair(next(self._numbers).to_bytes(32))


def bootstraps(peer: BadPeer, count: int) -> list[bytes]:
    """Make valid bootstraps, each of another node; keys from all over the key space."""
    frames = []
    for payload, key in signed_payloads(peer.root, count):
        frames.append(encode_frame(BootstrapFrame(key, FULL, payload)))
    return frames


def broadcasts(peer: BadPeer, count: int) -> list[bytes]:
    """Make valid wakeup broadcasts, each of another node."""
    frames = []
    for payload, key in signed_payloads(peer.root, count):
        frames.append(encode_frame(WakeupBroadcastFrame(key, payload, hop_limit=5)))
    return frames


def signed_payloads(root: Root, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Sign payloads with as many invented keys."""
    invented = Invented()
    sequence = unix_ms()
    message = signed_bytes(sequence, root)
    for _ in range(count):
        key, secret = invented.pair()
        yield encode_payload(SignedPayload(sequence, root, crypto_sign(message, secret)[:64])), key


def long_announcements(peer: BadPeer, count: int) -> list[bytes]:
    """Make announcements of 670 hops, all signatures valid, with roots stronger than any other."""
    return chains(peer, count, MOST_HOPS, strong_root)


def legal_announcements(peer: BadPeer, count: int) -> list[bytes]:
    """Make announcements of 255 hops, the longest that are still judged, with roots that nobody follows."""
    return chains(peer, count, 255, weak_root)


def chains(peer: BadPeer, count: int, length: int, root_seed: Callable[[], bytes]) -> list[bytes]:
    """Sign some chains of hops afresh, and repeat them."""
    made = [chain(peer, root_seed(), length) for _ in range(min(count, PREPARED_CHAINS))]
    return [made[number % len(made)] for number in range(count)]


def chain(peer: BadPeer, root_seed: bytes, length: int) -> bytes:
    """Return the frame with an announcement of `length` hops; the last is the peer's own."""
    invented = Invented()
    root_key, root_secret = crypto_sign_seed_keypair(root_seed)
    root = Root(root_key, 1)
    signed = encode_root(root)
    hops = []
    keys = [(root_key, root_secret), *(invented.pair() for _ in range(length - 2))]
    for key, secret in keys:
        hops.append(Hop(1, key, crypto_sign(signed, secret)[:64]))
        signed += b"\x01" + key + hops[-1].signature
    hops.append(Hop(1, peer.signer.public_key, peer.signer.sign(signed)))
    return announcement_frame(Announcement(root, tuple(hops)))


def strong_root() -> bytes:
    """Return a seed whose key is near the top of the key space."""
    return seed_of(lambda key: key[0] == 0xFF)


def weak_root() -> bytes:
    """Return a seed whose key is in the lower half of the key space."""
    return seed_of(lambda key: key[0] < 0x80)


def seed_of(wanted: Callable[[bytes], bool]) -> bytes:
    while True:
        seed = os.urandom(32)
        if wanted(Ed25519Signer(seed).public_key):
            return seed


def long_destinations(peer: BadPeer, count: int) -> list[bytes]:
    """Make traffic with 60 KB of destination coords to invented keys."""
    return [coords_frame(peer, os.urandom(32), long_coords(), ())] * count


def long_sources(peer: BadPeer, count: int) -> list[bytes]:
    """Make traffic with 60 KB of source coords to the honest peers, in turn."""
    targets = [bytes.fromhex(key) for key in os.environ["FLOOD_TARGETS"].split()]
    made = [coords_frame(peer, target, (), long_coords()) for target in targets]
    return [made[number % len(made)] for number in range(count)]


def long_coords() -> tuple[int, ...]:
    return tuple(1 + number % 100 for number in range(COORDS_BYTES))


def coords_frame(peer: BadPeer, to: bytes, destination: Sequence[int], source: Sequence[int]) -> bytes:
    frame = TrafficFrame(tuple(destination), tuple(source), to, peer.signer.public_key, FULL, b"x" * 100)
    return encode_frame(frame)


KINDS: dict[str, Callable[[BadPeer, int], list[bytes]]] = {
    "bootstraps": bootstraps,
    "broadcasts": broadcasts,
    "670-hop announcements": long_announcements,
    "255-hop announcements": legal_announcements,
    "60 KB destination coords": long_destinations,
    "60 KB source coords": long_sources,
}


def send_at(peer: BadPeer, frames: Sequence[bytes], rate: float) -> float:
    """Send all frames at `rate` a second and return the seconds it took."""
    began = time.monotonic()
    done = 0
    while done < len(frames):
        elapsed = time.monotonic() - began
        due = min(len(frames), int((elapsed + SLICE_SECONDS) * rate))
        peer.send(b"".join(frames[done:due]))
        done = due
        time.sleep(max(0.0, done / rate - (time.monotonic() - began)))
    return time.monotonic() - began


def main(kind: str, host: str, port: str, rate: str, seconds: str) -> None:
    """Join, prepare, wait for the word, flood, report."""
    connection = socket.create_connection((host, int(port)), timeout=10)
    with BadPeer(connection, Ed25519Signer(weak_root())).join() as peer:
        began = time.monotonic()
        frames = KINDS[kind](peer, int(float(rate) * float(seconds)))
        print(f"{len(frames)} frames made in {time.monotonic() - began:.1f} s", flush=True)
        print("ready", flush=True)
        sys.stdin.readline()
        took = send_at(peer, frames, float(rate))
        report = {"kind": kind, "frames": len(frames), "seconds": took, "rate": len(frames) / took}
        report["bytes"] = sum(map(len, frames))
        print(json.dumps(report), flush=True)
        peer.send(announcement_frame(own_announcement(peer.signer, unix_ms())))


if __name__ == "__main__":
    main(*sys.argv[1:])
