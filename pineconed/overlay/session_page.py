# SPDX-License-Identifier: Apache-2.0
"""Takes the pictures of sessions: each peer has one, by the first 15 bytes of its key."""

from heapq import nsmallest

from pineconed.clock import NEVER
from pineconed.overlay.address import OVERLAY_PREFIX
from pineconed.overlay.bare import BarePeers
from pineconed.overlay.session.dialling import Attempt
from pineconed.overlay.session.session import Session, Tally
from pineconed.overlay.session.sessions import Sessions
from pineconed.overlay.snapshots import MAX_ROWS, SessionPage, SessionSnapshot
from pineconed.wire.keys import KEY_PREFIX_LENGTH

_NOTHING = Tally(0.0)


def session_page(
    sessions: Sessions, bare: BarePeers, now: float, after: bytes | None, limit: int
) -> SessionPage:
    """The peers whose addresses follow `after` (None: from the first), at most `limit` and `MAX_ROWS`.

    Only the rows of the page are made; `now` in seconds.
    """
    peers = {*sessions.newest, *sessions.dialler.attempts, *bare.tallies}
    left = peers if after is None else [prefix for prefix in peers if OVERLAY_PREFIX + prefix > after]
    page = nsmallest(min(limit, MAX_ROWS), left)
    return SessionPage(
        sessions=[row for prefix in page if (row := session_snapshot(sessions, bare, prefix, now))],
        total=len(peers),
        next_cursor=OVERLAY_PREFIX + page[-1] if page and len(left) > len(page) else None,
    )


def session_snapshot(
    sessions: Sessions, bare: BarePeers, prefix: bytes, now: float
) -> SessionSnapshot | None:
    """One peer: with a session, else in the clear, else as it is dialled; None if it is none of these."""
    session, attempt = sessions.newest.get(prefix), sessions.dialler.attempts.get(prefix)
    if session is not None:
        return _up(sessions, session, bare, now)
    if prefix in bare.tallies:
        return _bare(prefix, bare.tallies[prefix], now)
    return None if attempt is None else _dialled(sessions, attempt, bare, now)


def _up(sessions: Sessions, session: Session, bare: BarePeers, now: float) -> SessionSnapshot:
    tally, clear = session.tally, bare.tallies.get(session.prefix, _NOTHING)
    return SessionSnapshot(
        state="up",
        address=OVERLAY_PREFIX + session.prefix,
        public_key=session.peer_key,
        path=_path(sessions, session.prefix, now),
        in_clear=session.prefix in bare.listed,
        cipher=session.cipher.name,
        hybrid=True,
        initiator=session.initiator,
        sessions=len(sessions.context.table.of_peer(session.prefix)),
        age_seconds=now - tally.since,
        key_age_seconds=now - session.created_at,
        last_heard_seconds=now - tally.last_heard,
        rtt_seconds=tally.rtt,
        tx_packets=tally.tx_packets + clear.tx_packets,
        rx_packets=tally.rx_packets + clear.rx_packets,
        tx_bytes=tally.tx_bytes + clear.tx_bytes,
        rx_bytes=tally.rx_bytes + clear.rx_bytes,
        drops={cause.value: count for cause, count in tally.drops.items()},
    )


def _bare(prefix: bytes, tally: Tally, now: float) -> SessionSnapshot:
    return SessionSnapshot(
        state="bare",
        address=OVERLAY_PREFIX + prefix,
        public_key=None,
        path="snake",
        in_clear=True,
        last_heard_seconds=now - tally.last_heard if tally.rx_packets else None,
        tx_packets=tally.tx_packets,
        rx_packets=tally.rx_packets,
        tx_bytes=tally.tx_bytes,
        rx_bytes=tally.rx_bytes,
    )


def _dialled(sessions: Sessions, attempt: Attempt, bare: BarePeers, now: float) -> SessionSnapshot:
    return SessionSnapshot(
        state="dialling" if attempt.held_until == NEVER else "failed",
        address=OVERLAY_PREFIX + attempt.prefix,
        public_key=attempt.dialled if len(attempt.dialled) > KEY_PREFIX_LENGTH else None,
        path=_path(sessions, attempt.prefix, now),
        in_clear=attempt.prefix in bare.listed,
        waiting=len(attempt.waiting.packets),
        age_seconds=now - attempt.begun_at,
    )


def _path(sessions: Sessions, prefix: bytes, now: float) -> str:
    return "snake" if sessions.context.known.coords(prefix, now) is None else "tree"
