# SPDX-License-Identifier: Apache-2.0
"""The protocol machine of one byte stream (protocol sections 2 and 3).

It goes from the handshake to frames and never back. The packet path only writes the stamps
`last_heard` and `last_sent`; `deadline` and `check` read them when the timer fires.
"""

from pineconed.signing import Signer, Verifier
from pineconed.wire.frame import Keepalive, encode_frame
from pineconed.wire.framer import Framer
from pineconed.wire.handshake import HANDSHAKE_LENGTH, check_start, decode_handshake, encode_handshake

HANDSHAKE_TIMEOUT = 10.0
"""Seconds within which both handshakes must have crossed."""

KEEPALIVE_INTERVAL = 3.0
"""Seconds without sending after which a keepalive goes out."""

SILENCE_TIMEOUT = 5.0
"""Seconds without a single byte after which the peer is given up."""

FRAME_TIMEOUT = 60.0
"""Seconds that one frame may take to arrive, however slow the link."""

KEEPALIVE = encode_frame(Keepalive())


class PeeringTimeoutError(Exception):
    """The peer was too slow; the text says in what. `remote_fault` tells a broken rule from mere silence."""

    def __init__(self, reason: str, *, remote_fault: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remote_fault = remote_fault


class Peering:
    """One stream. `public_key` is None until the peer's handshake was read and found good."""

    __slots__ = (
        "_framer",
        "_handshake",
        "_started_at",
        "_unfinished_since",
        "last_heard",
        "last_sent",
        "public_key",
    )

    def __init__(self, now: float, spent: float = 0.0) -> None:
        """`spent`: seconds of the time for the handshake that are over already."""
        self.public_key: bytes | None = None
        self.last_heard = now
        self.last_sent = now
        self._started_at = now - spent
        self._unfinished_since: float | None = None
        self._handshake = bytearray()
        self._framer = Framer()

    @staticmethod
    def greeting(signer: Signer) -> bytes:
        """The handshake that we write at once."""
        return encode_handshake(signer)

    def read_handshake(self, view: memoryview, verifier: Verifier, now: float) -> int:
        """Take bytes of the peer's handshake; how many. Raises `HandshakeError` when it is no good."""
        taken = view[: HANDSHAKE_LENGTH - len(self._handshake)]
        self._handshake += taken
        self.last_heard = now
        check_start(self._handshake)
        if len(self._handshake) == HANDSHAKE_LENGTH:
            self.public_key = decode_handshake(bytes(self._handshake), verifier)
            self._handshake.clear()
        return len(taken)

    def split(self, view: memoryview, max_frames: int, now: float) -> tuple[list[memoryview], int]:
        """Cut received bytes into whole frames; see `Framer.split`, whose `CodecError` ends the peering."""
        frames, consumed = self._framer.split(view, max_frames)
        self.last_heard = now
        if not self._framer.pending:
            self._unfinished_since = None
        elif frames or self._unfinished_since is None:
            self._unfinished_since = now
        return frames, consumed

    def deadline(self) -> float:
        """When `check` has something to do at the earliest, in seconds."""
        if self.public_key is None:
            return self._started_at + HANDSHAKE_TIMEOUT
        due = min(self.last_sent + KEEPALIVE_INTERVAL, self.last_heard + SILENCE_TIMEOUT)
        return due if self._unfinished_since is None else min(due, self._unfinished_since + FRAME_TIMEOUT)

    def check(self, now: float) -> bool:
        """Whether a keepalive is due. Raises `PeeringTimeoutError` when the peer has to be given up."""
        if self.public_key is None:
            return self._check_handshake(now)
        if now >= self.last_heard + SILENCE_TIMEOUT:
            raise PeeringTimeoutError(f"silent for {SILENCE_TIMEOUT:g} s", remote_fault=False)
        if self._unfinished_since is not None and now >= self._unfinished_since + FRAME_TIMEOUT:
            raise PeeringTimeoutError(f"one frame took more than {FRAME_TIMEOUT:g} s", remote_fault=True)
        return now >= self.last_sent + KEEPALIVE_INTERVAL

    def _check_handshake(self, now: float) -> bool:
        if now >= self._started_at + HANDSHAKE_TIMEOUT:
            got = f"{len(self._handshake)} of {HANDSHAKE_LENGTH} bytes came"
            raise PeeringTimeoutError(
                f"no handshake within {HANDSHAKE_TIMEOUT:g} s, {got}", remote_fault=True
            )
        return False
