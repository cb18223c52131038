# SPDX-License-Identifier: Apache-2.0
"""The trace of a run: every frame and every decision in order, as one digest and, if asked for, as lines.

Two runs with the same seed have the same trace. Contents of frames are not part of it, because secrets may
be random; times, links, frame types, sizes and what the nodes decided are.
"""

from collections import Counter
from hashlib import blake2b
from struct import Struct

_FRAME = Struct(">dIBH")


class Trace:
    """Collects what happened; `keep_lines` also keeps it readable, for small networks."""

    def __init__(self, keep_lines: bool = False) -> None:
        self.frame_counts: Counter[int] = Counter()
        self.byte_counts: Counter[int] = Counter()
        self.lines: list[str] | None = [] if keep_lines else None
        self._digest = blake2b(digest_size=32)

    def frame(self, now: float, direction: int, kind: int, size: int) -> None:
        """A frame leaves; `direction` names the link and the direction on it."""
        self.frame_counts[kind] += 1
        self.byte_counts[kind] += size
        self._digest.update(_FRAME.pack(now, direction, kind, size))
        if self.lines is not None:
            arrow = "<" if direction & 1 else ">"
            self.lines.append(f"{now:.6f} link {direction >> 1} {arrow} type {kind} {size} bytes")

    def decision(self, now: float, host: int, what: str) -> None:
        """A node decided or noticed something."""
        line = f"{now:.6f} host {host} {what}"
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """The digest of everything so far, in hex."""
        return self._digest.copy().hexdigest()
