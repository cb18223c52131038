# SPDX-License-Identifier: Apache-2.0
"""Echoes: what was asked of which peer, and how long the answers take."""

from pineconed.dataplane.forward import SendResult
from pineconed.overlay.events import EchoAnswered
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.control import Kind
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.session import Session

MAX_PENDING = 1024

_PROBE_LENGTH = 8
_REQUEST = bytes((Kind.ECHO_REQUEST,))
_REPLY = bytes((Kind.ECHO_REPLY,))


class Echoes:
    """Requests that wait for their replies; the oldest are forgotten first."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pending: dict[tuple[bytes, bytes], tuple[float, bool]] = {}

    def probe(self, session: Session, now: float) -> None:
        """Ask whether the peer is still there, along the snake, because its coords may be what is wrong."""
        data = self._context.party.entropy(_PROBE_LENGTH)
        self._expect(session, data, now, told=False)
        self._context.send_inside(session, _REQUEST + data, now, along_snake=True)

    def ping(self, session: Session, data: bytes, now: float) -> SendResult:
        """Ask for `data` back, by the way that packets go; `EchoAnswered` tells that it came."""
        self._expect(session, data, now, told=True)
        session.tally.last_echo = now
        self._context.expect_answer(session, now)
        return self._context.send_inside(session, _REQUEST + data, now)

    def handle_request(self, session: Session, plaintext: bytes, now: float) -> None:
        """Send the same bytes back."""
        session.tally.last_echo = now
        self._context.send_echo_reply(session, _REPLY + plaintext[1:], now)

    def handle_reply(self, session: Session, plaintext: bytes, now: float) -> None:
        """Take the time of a reply that was asked for."""
        data = plaintext[1:]
        sent_at, told = self._pending.pop((session.prefix, data), (None, False))
        if sent_at is None:
            self._context.drop(SessionDrop.ECHO_UNEXPECTED, session)
            return
        session.tally.rtt = now - sent_at
        if told:
            self._context.events.append(EchoAnswered(session.peer_key, data, now - sent_at))

    def _expect(self, session: Session, data: bytes, now: float, *, told: bool) -> None:
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[session.prefix, data] = now, told
