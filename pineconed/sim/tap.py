# SPDX-License-Identifier: Apache-2.0
"""Watching streams from outside the nodes: which frames they carry, and which links a payload crosses.

Independent of the nodes' own framer, so that a mistake there cannot hide here.
"""

from collections import Counter
from struct import unpack_from

HANDSHAKE = 255
"""What a tap calls the 104 bytes that open a stream; a frame type that the protocol does not use."""

HANDSHAKE_LENGTH = 104
BOOTSTRAP = 2
TRAFFIC = 3
WAKEUP_BROADCAST = 4

_HEADER_LENGTH = 10


class FrameTap:
    """Cuts one direction of one stream into its frames."""

    __slots__ = ("_greeted", "_kept")

    def __init__(self) -> None:
        self._kept = b""
        self._greeted = False

    def frames(self, data: bytes) -> list[tuple[int, bytes]]:
        """Type and bytes of the frames that `data` completes; the handshake counts as one."""
        data = self._kept + data
        frames: list[tuple[int, bytes]] = []
        offset = 0
        if not self._greeted and len(data) >= HANDSHAKE_LENGTH:
            self._greeted = True
            frames.append((HANDSHAKE, data[:HANDSHAKE_LENGTH]))
            offset = HANDSHAKE_LENGTH
        while self._greeted and len(data) - offset >= _HEADER_LENGTH:
            (length,) = unpack_from(">H", data, offset + 8)
            if len(data) - offset < length:
                break
            frames.append((data[offset + 5], data[offset : offset + length]))
            offset += length
        self._kept = data[offset:]
        return frames


class Crossings:
    """Which links every payload crossed, remembered for one to two `lifetime`s (virtual seconds).

    `longest` is by frame type the largest number of links that one payload crossed, `repeats` how often a
    payload crossed a link again in the same direction: more than none is a loop.
    """

    def __init__(self, lifetime: float = 15.0) -> None:
        self.longest: Counter[int] = Counter()
        self.repeats: Counter[int] = Counter()
        self._lifetime = lifetime
        self._turned_at = 0.0
        self._young: dict[tuple[int, bytes], list[int]] = {}
        self._old: dict[tuple[int, bytes], list[int]] = {}

    def crossed(self, now: float, kind: int, frame: bytes, direction: int) -> None:
        """A frame of the given type crosses a link; `direction` names link and direction."""
        if kind not in (BOOTSTRAP, TRAFFIC, WAKEUP_BROADCAST):
            return
        if now - self._turned_at > self._lifetime:
            self._old, self._young, self._turned_at = self._young, {}, now
        (size,) = unpack_from(">H", frame, _HEADER_LENGTH)
        path = self._path((kind, frame[len(frame) - size :]))
        self.repeats[kind] += direction in path
        path.append(direction)
        self.longest[kind] = max(self.longest[kind], len(path))

    def path(self, kind: int, payload: bytes) -> list[int]:
        """The directions that a payload crossed, in order; empty when it is forgotten or was never seen."""
        key = (kind, payload)
        return list(self._young.get(key) or self._old.get(key) or ())

    def forget_extremes(self) -> None:
        """Start `longest` and `repeats` afresh, for instance when a network has settled."""
        self.longest.clear()
        self.repeats.clear()

    def _path(self, key: tuple[int, bytes]) -> list[int]:
        path = self._young.get(key)
        if path is None:
            path = self._young[key] = self._old.pop(key, [])
        return path
