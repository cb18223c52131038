# SPDX-License-Identifier: Apache-2.0
"""What peers have proved about themselves: the key behind an address, and where in the tree they are."""

from pineconed.wire.coordinates import Coords, decode_coords
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_PREFIX_LENGTH

MAX_KNOWN = 4096

COORDS_LIFETIME = 60.0
"""Seconds for which coords are fresh (protocol section 6)."""

MAX_COORDS_LENGTH = 1024
"""Bytes of coords beyond which nobody forwards by them."""


class _Known:
    __slots__ = ("coords", "encoded", "learned_at", "public_key")

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self.encoded = b""
        self.coords: Coords | None = None
        self.learned_at = 0.0


class KnownPeers:
    """By the 15 bytes of a key that its address shows. Bounded; first out is who moved longest ago."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Known] = {}

    def key_of(self, prefix: bytes) -> bytes | None:
        """The whole key, if its owner has proved it."""
        known = self._peers.get(prefix)
        return None if known is None else known.public_key

    def coords(self, prefix: bytes, now: float) -> Coords | None:
        """Where the peer is, if that is known and fresh."""
        known = self._peers.get(prefix)
        return known.coords if known is not None and now - known.learned_at < COORDS_LIFETIME else None

    def learn(self, public_key: bytes, encoded_coords: bytes, now: float) -> None:
        """Note where a peer is, from something that it proved; empty coords mean that nobody can tell.

        Per-packet path: coords that stay the same cost no more than a look-up.
        """
        known = self._peers.get(public_key[:KEY_PREFIX_LENGTH])
        if known is None or known.encoded != encoded_coords:
            known = self._renew(public_key, encoded_coords)
        known.learned_at = now

    def learn_late(self, public_key: bytes, encoded_coords: bytes, asked_at: float, now: float) -> None:
        """Note where a peer said that it is in a handshake message that may have been held back on its way.

        It was written after `asked_at`. If something else was proved since, nobody can tell which is newer:
        then neither counts, and the way is along the snake until the peer is heard again.
        """
        known = self._peers.get(public_key[:KEY_PREFIX_LENGTH])
        if known is None or known.coords is None or known.learned_at < asked_at:
            self.learn(public_key, encoded_coords, now)
        elif known.encoded != encoded_coords:
            self.forget_coords(known.public_key[:KEY_PREFIX_LENGTH])

    def forget_coords(self, prefix: bytes) -> None:
        """The peer is not where it was; its key stays known."""
        if known := self._peers.get(prefix):
            known.encoded, known.coords = b"", None

    def forget_all_coords(self) -> None:
        """The tree is another one."""
        for prefix in self._peers:
            self.forget_coords(prefix)

    def _renew(self, public_key: bytes, encoded_coords: bytes) -> _Known:
        prefix = public_key[:KEY_PREFIX_LENGTH]
        self._peers.pop(prefix, None)
        if len(self._peers) >= MAX_KNOWN:
            del self._peers[next(iter(self._peers))]
        known = self._peers[prefix] = _Known(public_key)
        known.encoded, known.coords = encoded_coords, usable_coords(encoded_coords)
        return known


def usable_coords(encoded: bytes) -> Coords | None:
    """Coords to send to; None when they are empty, malformed or too long."""
    if not 2 < len(encoded) <= MAX_COORDS_LENGTH + 2:
        return None
    try:
        return decode_coords(encoded)[0]
    except CodecError:
        return None
