# SPDX-License-Identifier: Apache-2.0
"""Telling peers that we have moved.

The word is an empty DATA, which names our new coords. It goes to where the peer is known to be, because the
snake has not followed us yet, and along the snake, because the peer may have moved, too. It is repeated when
the bootstraps that follow a move have mended the snake: both of the first may be lost where both ends moved.
"""

from collections import deque

from pineconed.clock import NEVER
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import KEEPALIVE
from pineconed.rate import TokenBucket

TOLD_AGAIN = (0.5, 1.0, 2.0)
"""Seconds after a move at which peers are told again."""

MOVE_RATE = 100.0
"""Messages a second that tell of a move."""

PAUSE = 0.2
"""Seconds between two looks at all peers; a parent can move us hundreds of times a second."""

RECENT = 60.0
"""Seconds since the last IP packet or echo within which a peer is told."""


class MoveNotices:
    """Who is still to be told, and when all are told again. Times are in seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[tuple[bytes, bool], None] = {}
        """Peers, and whether the word goes along the snake, in order."""
        self._again: deque[float] = deque()
        self._rate = TokenBucket(MOVE_RATE, MOVE_RATE / 10)
        self._next = NEVER
        self._told_at = -NEVER

    def tell(self, now: float) -> None:
        """Our coords have changed: every peer with recent traffic is to learn the new ones."""
        self._again = deque(now + seconds for seconds in TOLD_AGAIN)
        if now - self._told_at < PAUSE:
            self._again.appendleft(self._told_at + PAUSE)
        else:
            self._tell_all(now)

    def handle_timer(self, now: float) -> None:
        """Send as many messages as may be sent now; call when that is due."""
        if self._again and now >= self._again[0]:
            self._again.popleft()
            self._tell_all(now)
        else:
            self._tell_some(now)

    def deadline(self) -> float:
        """When `handle_timer` is due again."""
        return min(self._next, self._again[0] if self._again else NEVER)

    def _tell_all(self, now: float) -> None:
        self._told_at = now
        for session in self._context.table.newest.values():
            if now - session.tally.last_use < RECENT:
                self._waiting[session.prefix, True] = self._waiting[session.prefix, False] = None
        self._tell_some(now)

    def _tell_some(self, now: float) -> None:
        waiting, wait = self._waiting, 0.0
        while waiting:
            prefix, along_snake = next(iter(waiting))
            session = self._context.table.newest.get(prefix)
            if session is not None and (along_snake or self._context.known.coords(prefix, now)):
                wait = self._rate.spend(1, now)
                if wait:
                    break
                self._context.send_inside(session, KEEPALIVE, now, along_snake=along_snake)
            del waiting[prefix, along_snake]
        self._next = now + wait if waiting else NEVER
