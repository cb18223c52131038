# SPDX-License-Identifier: Apache-2.0
"""A handshake as the initiator has it: INIT, the RESPONSE that is believed, CONFIRM."""

from dataclasses import dataclass
from typing import ClassVar

from pineconed.clock import NEVER
from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.session.items import Items
from pineconed.overlay.session.message import HEADER_LENGTH, MessageType, encode_header
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.session import Agreement, Session

REPEATS = (0.0, 0.5, 1.5, 3.5)
"""Seconds after its beginning at which a renewal sends its INIT."""

FAILS_AFTER = 7.5
"""Seconds after which a handshake ends: from its beginning if nobody has answered, else from CONFIRM."""

CONFIRM_REPEATS = (0.5, 1.0, 2.0)
"""Seconds after the first CONFIRM at which it is sent again."""

MAX_RESPONSES = 8
"""RESPONSEs that a renewal, where only the peer can send any, tries at most."""


@dataclass(frozen=True, slots=True)
class Response:
    """A RESPONSE that passed every check, and the state that read it."""

    handshake: Handshake
    items: Items
    remote_index: int


class Initiation:
    """One handshake that we began. Its index is the number by which the other side answers.

    `message` is the INIT without padding. `session` is there, not yet proven, and `confirm` is what was sent,
    as soon as a RESPONSE was believed.
    """

    repeats: ClassVar[tuple[float, ...]] = REPEATS

    __slots__ = (
        "_handshake",
        "_party",
        "begun_at",
        "confirm",
        "confirmed_at",
        "confirms_sent",
        "index",
        "inits_sent",
        "message",
        "session",
        "tried",
    )

    def __init__(self, party: Party, index: int, now: float) -> None:
        self.index = index
        self.begun_at = now
        self.tried = 0
        self.inits_sent = 0
        self.confirm = b""
        self.confirms_sent = 0
        self.confirmed_at = NEVER
        self.session: Session | None = None
        self._party = party
        header = encode_header(MessageType.INIT, index)
        self._handshake = party.handshake(header, party.identity.public_key, initiator=True)
        self.message = header + self._handshake.write_message(b"", party.entropy)

    def read_response(self, source_key: bytes, message: bytes) -> Response:
        """Try a RESPONSE on a copy of the state; CodecError when it is refused."""
        self.tried += 1
        handshake = self._handshake.copy()
        payload = handshake.read_message(message[HEADER_LENGTH:])
        items = self._party.check(payload, handshake.remote_static, source_key)
        if items.index is None:
            raise NoiseError("RESPONSE without an index")
        return Response(handshake, items, items.index)

    def accept(self, response: Response, coords: bytes | None, packet: bytes | None, now: float) -> Session:
        """Write CONFIRM, with our coords and the first waiting packet; the session that it makes."""
        party, handshake = self._party, response.handshake
        written = handshake.write_message(party.payload(coords, packet=packet), party.entropy)
        self.confirm = encode_header(MessageType.CONFIRM, response.remote_index) + written
        self.confirmed_at = now
        agreement = Agreement(
            party, handshake, response.items, self.index, response.remote_index, self.begun_at
        )
        self.session = Session(agreement, now)
        return self.session

    def round_trip(self, now: float) -> float | None:
        """Seconds from CONFIRM to the first DATA; None if it was repeated, as then nobody can tell."""
        return now - self.confirmed_at if self.confirms_sent == 1 else None

    def due(self) -> float:
        """When something is to be sent next, or the attempt fails."""
        fails_at = self._fails_at()
        if self.session is None:
            if self.inits_sent < len(self.repeats):
                return self.begun_at + self.repeats[self.inits_sent]
        elif self.confirms_sent <= len(CONFIRM_REPEATS):
            return min(self.confirmed_at + (0.0, *CONFIRM_REPEATS)[self.confirms_sent], fails_at)
        return fails_at

    def next_message(self) -> bytes:
        """What is due to be sent: the INIT, or once there is one the CONFIRM."""
        if self.session is None:
            self.inits_sent += 1
            return self.message
        self.confirms_sent += 1
        return self.confirm

    def failed(self, now: float) -> bool:
        """Whether its time is up."""
        return now >= self._fails_at()

    def _fails_at(self) -> float:
        return (self.begun_at if self.session is None else self.confirmed_at) + FAILS_AFTER
