# SPDX-License-Identifier: Apache-2.0
"""Dialling: from a packet for a node without a session to a session, or to the knowledge that there is none.

The flow: `dial` begins an attempt and keeps the packet; `handle_timer` sends INIT and CONFIRM again;
`handle_response` tries what comes back; the first DATA that is authentic under the new session proves it, and
`settle` releases the packets. Only the timer ends an attempt that nobody answers.
"""

from pineconed.clock import NEVER
from pineconed.overlay.address import OVERLAY_PREFIX
from pineconed.overlay.events import DialFailed
from pineconed.overlay.partial import PARTIAL, complete
from pineconed.overlay.session.context import Context
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.handshake_queue import HandshakeQueue
from pineconed.overlay.session.initiation import Initiation, Response
from pineconed.overlay.session.message import HEADER_LENGTH, RESPONSE_LIMIT, decode_header, pad_init
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.port_budget import PortBudget
from pineconed.overlay.session.session import Session
from pineconed.overlay.session.timers import Timers
from pineconed.overlay.session.waiting import Outgoing, WaitingPackets, WaitingTotal
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_LENGTH, KEY_PREFIX_LENGTH

HOLD_OFF = 1.0
"""Seconds after a failed attempt for which packets are answered at once."""

MAX_ATTEMPTS = 1024

MAX_REDIALS = MAX_ATTEMPTS // 2
"""Attempts beyond which no session is made anew that nobody's packet waits for.

Peers can bring these about, as many as they invent keys; packets for other nodes find room all the same.
"""

DIAL_REPEATS = tuple(number / 2 for number in range(15))
"""Seconds after its beginning at which an attempt sends its INIT, always the same bytes.

Often, because of several that nobody can tell apart a node that is flooded reads first the one that it got
most often (`handshake_queue`).
"""

_CONFIRM_ROOM = 256
"""Bytes that CONFIRM takes at most beside coords and packet."""


class Attempt(Initiation):
    """A handshake by plain messages, and the packets that wait for it.

    `dialled` is as much of the peer's key as is known. `carried` is the packet that CONFIRM holds.
    `held_until` is set when it has failed.
    """

    repeats = DIAL_REPEATS

    __slots__ = ("carried", "dialled", "held_until", "prefix", "timer_at", "waiting")

    def __init__(self, party: Party, index: int, dialled: bytes, total: WaitingTotal, now: float) -> None:
        super().__init__(party, index, now)
        self.dialled = dialled
        self.prefix = dialled[:KEY_PREFIX_LENGTH]
        self.waiting = WaitingPackets(total)
        self.carried: bytes | None = None
        self.held_until = NEVER
        self.timer_at = NEVER


class Dialler:
    """The attempts, one a destination."""

    def __init__(self, context: Context) -> None:
        self.attempts: dict[bytes, Attempt] = {}
        """By the first 15 bytes of the key."""
        self.timers: Timers[Attempt] = Timers()
        self._context = context
        self._total = WaitingTotal()
        self._responses: HandshakeQueue[tuple[bytes, bytes]] = HandshakeQueue(PortBudget())

    def dial(self, prefix: bytes, packet: Outgoing, now: float) -> None:
        """Have a packet wait for a session with the node whose key begins so."""
        context = self._context
        attempt = self.attempts.get(prefix) or self._begin(prefix, now)
        if attempt is None:
            context.drop(SessionDrop.OUT_WAITING_FULL)
        elif attempt.held_until != NEVER:
            self._answer([packet])
        elif not attempt.waiting.add(packet):
            context.drop(SessionDrop.OUT_WAITING_FULL)

    def redial(self, prefix: bytes, now: float) -> None:
        """Make a new session with a peer by a plain INIT, unless an attempt runs or many do."""
        if prefix not in self.attempts and len(self.attempts) < MAX_REDIALS:
            self._begin(prefix, now)

    def handle_response(self, source_key: bytes, message: bytes, port: int, now: float) -> None:
        """Try a RESPONSE that came as a frame's payload by `port`, with the free checks first.

        The rest is done now or when the budget allows.
        """
        context = self._context
        attempt = self._asker(message)
        if len(message) > RESPONSE_LIMIT:
            context.drop(SessionDrop.MESSAGE_MALFORMED)
        elif attempt is None:
            context.drop(SessionDrop.RESPONSE_UNEXPECTED)
        elif not source_key.startswith(attempt.dialled):
            context.drop(SessionDrop.RESPONSE_FOREIGN_KEY)
        else:
            response = source_key, message
            if self._responses.offer(port, response, response, now):
                context.drop(SessionDrop.RESPONSE_OVER_BUDGET)
            self.try_admitted(now, port)

    def try_admitted(self, now: float, port: int | None = None) -> None:
        """Try the RESPONSEs, by `port` if it is given, whose turn it is."""
        for (source_key, message), _ in self._responses.admitted(now, port):
            attempt = self._asker(message)
            if attempt is None:
                self._context.drop(SessionDrop.RESPONSE_UNEXPECTED)
                continue
            try:
                response = attempt.read_response(source_key, message)
            except CodecError as error:
                self._context.refuse(SessionDrop.RESPONSE_REFUSED, source_key, str(error), now)
            else:
                self._confirm(attempt, response, now)

    def deadline(self) -> float:
        """When something is due: an attempt, or RESPONSEs that waited."""
        return min(self.timers.deadline(), self._responses.deadline())

    def _asker(self, message: bytes) -> Attempt | None:
        """The attempt that a RESPONSE is to, if it still wants one; CodecError when it is cut off."""
        owner = self._context.indices.owners.get(decode_header(message)[1])
        return owner if isinstance(owner, Attempt) and owner.session is None else None

    def settle(self, session: Session) -> None:
        """A session with this peer is proven: send what waits; an attempt that led to it is over."""
        attempt = self.attempts.get(session.prefix)
        if attempt is None:
            return
        self._context.released += attempt.waiting.take()
        if attempt.session is session:
            if attempt.carried is not None:
                self._context.note_sent(session, 1, len(attempt.carried), session.proven_at)
            self._end(attempt)

    def handle_timer(self, attempt: Attempt, now: float) -> None:
        """An attempt is due: send again, give up, or forget that it failed."""
        if now >= attempt.held_until:
            self._end(attempt)
        elif attempt.failed(now):
            self._fail(attempt, now)
        else:
            self._send(attempt, now)

    def _begin(self, prefix: bytes, now: float) -> Attempt | None:
        if len(self.attempts) >= MAX_ATTEMPTS:
            return None
        context = self._context
        dialled = context.known.key_of(prefix) or prefix
        attempt = Attempt(context.party, context.indices.draw(), dialled, self._total, now)
        self.attempts[prefix] = context.indices.owners[attempt.index] = attempt
        self._send(attempt, now)
        return attempt

    def _send(self, attempt: Attempt, now: float) -> None:
        """Send what is due: the first time to where the peer is known to be, repeats along the snake."""
        context = self._context
        first = attempt.confirms_sent == 0 if attempt.session else attempt.inits_sent == 0
        coords = context.known.coords(attempt.prefix, now) if first else None
        message = attempt.next_message()
        if attempt.session is None:
            message = pad_init(message)
        key = attempt.session.peer_key if attempt.session else attempt.dialled.ljust(KEY_LENGTH, b"\0")
        context.post(key, coords, message, now)
        self.timers.arm(attempt, attempt.due())

    def _confirm(self, attempt: Attempt, response: Response, now: float) -> None:
        context = self._context
        own_coords = context.forwarder.source_coords
        attempt.carried = self._first_that_fits(attempt, response, len(own_coords))
        session = attempt.accept(response, own_coords, attempt.carried, now)
        if response.items.coords is not None:
            context.known.learn_late(session.peer_key, response.items.coords, attempt.begun_at, now)
        self._send(attempt, now)

    def _first_that_fits(self, attempt: Attempt, response: Response, coords_length: int) -> bytes | None:
        """The first packet that waits, if CONFIRM can carry it and the peer takes it."""
        first = attempt.waiting.first()
        room = self._context.forwarder.payload_limit() - HEADER_LENGTH - _CONFIRM_ROOM - coords_length
        if not isinstance(first, bytes) or len(first) > min(room, response.items.packet_limit):
            return None
        attempt.waiting.drop_first()
        return complete(first) if first[0] >= PARTIAL else first

    def _fail(self, attempt: Attempt, now: float) -> None:
        """Nobody is there, unless a session has come up in another way."""
        context = self._context
        if attempt.prefix in context.table.newest:
            self._end(attempt)
            return
        carried: list[Outgoing] = [] if attempt.carried is None else [attempt.carried]
        self._answer(carried + attempt.waiting.take())
        context.indices.release(attempt)
        attempt.session = None
        attempt.held_until = now + HOLD_OFF
        self.timers.arm(attempt, attempt.held_until)
        context.events.append(DialFailed(OVERLAY_PREFIX + attempt.prefix))

    def _end(self, attempt: Attempt) -> None:
        context = self._context
        self.timers.arm(attempt, NEVER)
        context.indices.release(attempt)
        attempt.waiting.take()
        del self.attempts[attempt.prefix]

    def _answer(self, packets: list[Outgoing]) -> None:
        context = self._context
        context.drops.count(SessionDrop.OUT_UNREACHABLE, len(packets))
        context.unreachable += packets
