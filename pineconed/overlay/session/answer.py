# SPDX-License-Identifier: Apache-2.0
"""A handshake as the responder has it: half-open from INIT to CONFIRM."""

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.session.items import Items
from pineconed.overlay.session.message import (
    HEADER_LENGTH,
    RESPONSE_LIMIT,
    MessageType,
    decode_header,
    encode_header,
)
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.session import Agreement, Session

HALF_OPEN_LIFETIME = 10.0
"""Seconds for which an INIT, and then a CONFIRM, is answered again in the same way."""

CONFIRM_WITHIN = 7.0
"""Seconds after the RESPONSE within which a CONFIRM is believed.

Less than the initiator waits after it: one that is held back on its way makes no session that only we have.
"""


class Answer:
    """One INIT and the RESPONSE to it. CodecError when the INIT, header and Noise message, is refused.

    An INIT proves nothing, so nothing else of ours changes by it. `times_sent` and `sent_at` tell how often
    `response` was sent, and to a stranger when last. `confirm` and `session` are there once a CONFIRM was
    believed. `inside` tells the renewal of a session, all of which comes by that session.
    """

    __slots__ = (
        "_confirm_keys",
        "_handshake",
        "_party",
        "_remote_index",
        "begun_at",
        "confirm",
        "expires_at",
        "index",
        "init",
        "inside",
        "response",
        "sent_at",
        "session",
        "source_key",
        "times_sent",
    )

    def __init__(
        self,
        party: Party,
        source_key: bytes,
        init: bytes,
        index: int,
        coords: bytes,
        now: float,
        *,
        inside: bool = False,
    ) -> None:
        self.index = index
        self.init = init
        self.source_key = source_key
        self.inside = inside
        self.times_sent = 0
        self.sent_at = now
        self.expires_at = now + HALF_OPEN_LIFETIME
        self.confirm: bytes | None = None
        self.session: Session | None = None
        self._party = party
        self.begun_at = now
        self._confirm_keys: bytes | None = None
        self._remote_index = decode_header(init)[1]
        self._handshake: Handshake | None = party.handshake(init, source_key, initiator=False)
        self._handshake.read_message(init[HEADER_LENGTH:])
        self.response = self._respond(self._handshake, coords)

    def _respond(self, handshake: Handshake, coords: bytes) -> bytes:
        """RESPONSE; without coords where it would be longer than the INIT."""
        party = self._party
        payload = party.payload(coords, self.index)
        if HEADER_LENGTH + handshake.next_overhead() + len(payload) > RESPONSE_LIMIT:
            payload = party.payload(None, self.index)
        header = encode_header(MessageType.RESPONSE, self._remote_index)
        return header + handshake.write_message(payload, party.entropy)

    def round_trip(self, now: float) -> float | None:
        """Seconds from RESPONSE to CONFIRM; None if it was repeated, as then nobody can tell."""
        return None if self.times_sent > 1 else now - self.begun_at

    def read_confirm(self, message: bytes, now: float) -> tuple[Session, Items]:
        """The session that CONFIRM makes, and what the initiator tells; CodecError when it is refused.

        It is read on a copy: one that is altered on its way changes nothing. Afterwards the keys of the
        handshake are forgotten, and no other CONFIRM is read.
        """
        party = self._party
        if self._handshake is None or now >= self.begun_at + CONFIRM_WITHIN:
            raise NoiseError("CONFIRM of a handshake that is over")
        handshake, encrypted = self._read_keys(self._handshake, message[HEADER_LENGTH:])
        payload = handshake.read_payload(encrypted)
        self._handshake = None  # it is the initiator's own word; if that is refused, so is any other of it
        items = party.check(payload, handshake.remote_static, self.source_key)
        agreement = Agreement(party, handshake, items, self.index, self._remote_index, self.begun_at)
        self.session = Session(agreement, now)
        self.confirm = message
        self.expires_at = now + HALF_OPEN_LIFETIME
        return self.session, items

    def _read_keys(self, handshake: Handshake, message: bytes) -> tuple[Handshake, bytes]:
        """The state with the initiator's key in it, to read the payload with, and the encrypted payload.

        Only the initiator can encrypt a static key that is believed. The first is remembered with what it
        led to, because the key agreement is what costs, and no other is tried.
        """
        known = self._confirm_keys
        if known is None:
            read = handshake.copy()
            try:
                length = read.read_keys(message)
            except NoiseError:
                if read.remote_static:  # by the initiator, and no key to agree with
                    self._handshake = None
                raise
            self._confirm_keys, self._handshake = message[:length], read
            return read.copy(), message[length:]
        if not message.startswith(known):
            raise NoiseError("CONFIRM with another key than the one before")
        return handshake.copy(), message[len(known) :]
