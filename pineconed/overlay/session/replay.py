# SPDX-License-Identifier: Apache-2.0
"""Which counters were received: a window of 8,192, kept in 64-bit blocks (RFC 6479).

The blocks form a ring with one more than the window needs, so that to move it is to clear whole blocks.
"""

WINDOW = 8192
_BLOCKS = WINDOW // 64 + 1


class ReplayWindow:
    """Tells counters that are new from those that were there or are too old."""

    __slots__ = ("_blocks", "highest")

    def __init__(self) -> None:
        self.highest = -1
        """The highest counter noted; -1 before the first."""
        self._blocks = [0] * _BLOCKS

    def admits(self, counter: int) -> bool:
        """Whether `counter` is neither noted nor too old. Changes nothing."""
        if counter > self.highest:
            return True
        if counter <= self.highest - WINDOW:
            return False
        return not self._blocks[(counter >> 6) % _BLOCKS] >> (counter & 63) & 1

    def note(self, counter: int) -> None:
        """Note a counter that is admitted and whose message is authentic."""
        block = counter >> 6
        if counter > self.highest:
            first = max((self.highest >> 6) + 1, block + 1 - _BLOCKS)
            for passed in range(first, block + 1):
                self._blocks[passed % _BLOCKS] = 0
            self.highest = counter
        self._blocks[block % _BLOCKS] |= 1 << (counter & 63)
