# SPDX-License-Identifier: Apache-2.0
"""The proven sessions: which there are, which one to send on, which one makes room."""

from collections.abc import Iterator
from heapq import nsmallest

from pineconed.clock import NEVER
from pineconed.overlay.session.drops import Drops, SessionDrop
from pineconed.overlay.session.indices import Indices
from pineconed.overlay.session.session import Session

MAX_SESSIONS = 4096
MAX_PER_PEER = 4

_AT_ONCE = 64
"""Sessions that are marked to make room whenever all have been looked at, because that takes milliseconds."""


class SessionTable:
    """Sessions by peer, told by the first 15 bytes of its key. Half-open handshakes are not here."""

    def __init__(self, indices: Indices, drops: Drops) -> None:
        self.newest: dict[bytes, Session] = {}
        """The session to send on, by peer; for the per-packet path."""
        self.count = 0
        self._indices = indices
        self._drops = drops
        self._by_peer: dict[bytes, list[Session]] = {}
        self._unused: dict[Session, None] = {}
        self._marked: list[tuple[float, Session]] = []

    def __iter__(self) -> Iterator[Session]:
        """Every session, by peer in the order in which peers came."""
        for sessions in list(self._by_peer.values()):
            yield from list(sessions)

    def of_peer(self, prefix: bytes) -> list[Session]:
        """The sessions with a peer, in the order in which they were proven."""
        return self._by_peer.get(prefix, [])

    def add(self, session: Session, now: float) -> list[Session]:
        """Take in a session that is now proven; those that it puts out, already removed."""
        session.proven_at = now
        evicted = self._make_room(session)
        sessions = self._by_peer.setdefault(session.prefix, [])
        sessions.append(session)
        self.count += 1
        self._unused[session] = None
        self._indices.owners[session.index] = session
        current = self.newest.get(session.prefix)
        if current is None or session.supersedes(current):
            self._prefer(session, current)
        return evicted

    def remove(self, session: Session) -> None:
        """Forget a session; what is sent to the peer from now on goes by the newest that is left."""
        sessions = self._by_peer[session.prefix]
        sessions.remove(session)
        self.count -= 1
        self._unused.pop(session, None)
        self._indices.release(session)
        if session.is_newest:
            session.is_newest = False
            del self.newest[session.prefix]
            if sessions:
                self._prefer(sessions[-1], None)
        if not sessions:
            del self._by_peer[session.prefix]

    def carried_packet(self, session: Session) -> None:
        """Note that a session carried its first IP packet."""
        session.carried_packets = True
        self._unused.pop(session, None)

    def _prefer(self, session: Session, current: Session | None) -> None:
        if current is not None:
            current.is_newest = False
            current.unanswered_since = NEVER
        session.is_newest = True
        self.newest[session.prefix] = session

    def _make_room(self, session: Session) -> list[Session]:
        """At most four a peer, 4,096 in all: unused ones go first, then the least recently used."""
        evicted = []
        sessions = self.of_peer(session.prefix)
        if len(sessions) >= MAX_PER_PEER:
            evicted.append(next(old for old in sessions if not old.is_newest))
        elif self.count >= MAX_SESSIONS:
            evicted.append(next(iter(self._unused), None) or self._least_recently_used())
            self._drops.count(SessionDrop.SESSION_EVICTED)
        for old in evicted:
            self.remove(old)
        return evicted

    def _least_recently_used(self) -> Session:
        """Of all. One that was marked and has carried nothing since still is: no other can be older."""
        while True:
            while self._marked:
                last_use, session = self._marked.pop()
                if _last_use(session) == last_use and self._indices.owners.get(session.index) is session:
                    return session
            oldest = nsmallest(_AT_ONCE, self, key=_last_use)
            self._marked = [(_last_use(session), session) for session in reversed(oldest)]


def _last_use(session: Session) -> float:
    return session.tally.last_packet
