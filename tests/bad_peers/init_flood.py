# SPDX-License-Identifier: Apache-2.0
"""A stream of INITs, or of frames that differ from them in their first payload byte alone.

    python -m tests.bad_peers.init_flood PHASES ROUNDS HOST PORT TARGET PEER RATE

PHASES, such as `inits:25,unknown:4`, are kinds and seconds; they are run through so many times. TARGET is the
key of the node that the frames are for, PEER that of a node it has a session with. Half of the frames are
named as PEER's, the others as those of keys that were made up. All are well-formed, and an INIT that is
answered costs the node as much as any honest one. The process joins as a peer, says `ready`, begins when a
line comes on its standard input, and prints as its last line a JSON object with what it reached.

Kinds: `unknown` are frames of a session type that does not exist, `inits` are INITs, nearly all of them new,
`repeats` are INITs that come again and again, all of them named as PEER's.
"""

import json
import os
import socket
import sys
import time
from itertools import cycle, islice
from typing import Any

from pineconed.overlay.noise.primitives import MlKem768
from pineconed.overlay.session.message import MessageType, encode_header, pad_init
from pineconed.signing import Ed25519Signer
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, encode_frame
from pineconed.wire.keys import KEY_LENGTH
from pineconed.wire.watermark import FULL
from tests.bad_peers.client import BadPeer, announcement_frame, own_announcement, unix_ms
from tests.bad_peers.flood import weak_root

SLICE_SECONDS = 0.01
KEM_KEYS = 32
"""Keys for encapsulation, made ahead. The X25519 keys are new in each INIT, because any 32 bytes are one."""

REPEATED = {"unknown": 0.1, "inits": 0.1, "repeats": 1.0}
"""Which part of a slice comes again in the next one, by kind."""
RENEWED = 100
"""Slices after which other frames are repeated; a node keeps its answers for longer."""

UNKNOWN_TYPE = 0x3F
SOURCE = bytes(range(100, 100 + KEY_LENGTH))
EPHEMERAL = bytes(range(160, 160 + KEY_LENGTH))
"""These stand where keys that are made up will be."""


class Slice:
    """The frames of ten milliseconds, in one buffer.

    Those that are repeated come first: then they are the ones for which the node has budget.
    """

    def __init__(self, kind: str, target: bytes, named: bytes, coords: Coords, count: int) -> None:
        self.count = count
        self.data = bytearray()
        self._repeated = int(REPEATED[kind] * count)
        self._sources: list[int | None] = []
        self._ephemerals: list[int] = []
        for number, payload in enumerate(islice(cycle(payloads(kind)), count)):
            as_peer = number % 2 or kind == "repeats"
            source, source_coords = (named, ()) if as_peer else (SOURCE, coords)
            frame = encode_frame(TrafficFrame((), source_coords, target, source, FULL, payload))
            self._sources.append(None if as_peer else len(self.data) + frame.index(SOURCE))
            self._ephemerals.append(len(self.data) + frame.index(EPHEMERAL))
            self.data += frame
        self.renew(all_of_them=True)

    def renew(self, *, all_of_them: bool) -> None:
        """Put new keys into the frames that are not repeated, or into all."""
        data, fresh = self.data, memoryview(os.urandom(2 * KEY_LENGTH * self.count))
        for number in range(0 if all_of_them else self._repeated, self.count):
            source, ephemeral, new = self._sources[number], self._ephemerals[number], 2 * KEY_LENGTH * number
            data[ephemeral : ephemeral + KEY_LENGTH] = fresh[new : new + KEY_LENGTH]
            if source is not None:
                data[source : source + KEY_LENGTH] = fresh[new + KEY_LENGTH : new + 2 * KEY_LENGTH]


def payloads(kind: str) -> list[bytes]:
    """INITs whose keys for encapsulation are good, or the same with a first byte that means nothing."""
    message_type = UNKNOWN_TYPE if kind == "unknown" else MessageType.INIT
    kem, made = MlKem768(), []
    for number in range(KEM_KEYS):
        header = bytes([message_type]) + encode_header(MessageType.INIT, number)[1:]
        made.append(pad_init(header + EPHEMERAL + kem.key_pair(os.urandom(kem.seed_length)).public))
    return made


def send(peer: BadPeer, frames: Slice, rate: float, seconds: float) -> dict[str, float]:
    """Send slice after slice at `rate` frames a second; when it began (monotonic), what it sent, how long."""
    began, slices = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        time.sleep(max(0.0, slices * frames.count / rate - elapsed))
        frames.renew(all_of_them=slices % RENEWED == 0)
        peer.send(frames.data)
        peer.frames.clear()  # what came back
        slices += 1
    return {"began": began, "frames": slices * frames.count, "seconds": time.monotonic() - began}


def main(phases: str, rounds: str, host: str, port: str, target: str, named: str, rate: str) -> None:
    """Join, prepare, wait for the word, flood, report."""
    parts = [phase.partition(":") for phase in phases.split(",")] * int(rounds)
    plan = [(kind, float(seconds)) for kind, _, seconds in parts]
    connection = socket.create_connection((host, int(port)), timeout=10)
    with BadPeer(connection, Ed25519Signer(weak_root())).join() as peer:
        coords, count = peer.announcements()[-1].coords, int(float(rate) * SLICE_SECONDS)
        keys = bytes.fromhex(target), bytes.fromhex(named)
        made = {kind: Slice(kind, *keys, coords, count) for kind in dict.fromkeys(kind for kind, _ in plan)}
        print("ready", flush=True)
        sys.stdin.readline()
        busy = time.process_time()
        done: list[dict[str, Any]] = [
            {"kind": kind, **send(peer, made[kind], float(rate), seconds)} for kind, seconds in plan
        ]
        busy = (time.process_time() - busy) / sum(phase["seconds"] for phase in done)
        report = {"phases": done, "busy": busy, "frame_bytes": len(made[plan[0][0]].data) // count}
        print(json.dumps(report), flush=True)
        peer.send(announcement_frame(own_announcement(peer.signer, unix_ms())))


if __name__ == "__main__":
    main(*sys.argv[1:])
