# SPDX-License-Identifier: Apache-2.0
"""Tree announcements: a root and the signed hops from it to the node that received it (protocol section 4).

What is wrong with an announcement that parses (no hop, a port 0, other signers) is for the receiver to judge.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from pineconed.signing import Signer
from pineconed.wire import varu64
from pineconed.wire.buffer import Buffer
from pineconed.wire.coordinates import Coords
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_LENGTH, SIGNATURE_LENGTH, checked_key, checked_signature
from pineconed.wire.root import Root, decode_root, encode_root

MIN_HOP_LENGTH = 1 + KEY_LENGTH + SIGNATURE_LENGTH
"""Bytes of a hop with a port below 128; fewer at the end of an announcement are no hop and are ignored."""

_PREFIX_DIGEST_LENGTH = 32


class Hop(NamedTuple):
    """One step down the tree: the port that the signer gave to the next node, the signer, its signature."""

    port: int
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Announcement:
    """A root and the hops from it: the root signs the first one, the peer that sent it the last one."""

    root: Root
    hops: tuple[Hop, ...]

    @property
    def coords(self) -> Coords:
        """Where the node that received this is in the tree."""
        return tuple([hop.port for hop in self.hops])

    @property
    def peer_coords(self) -> Coords:
        """Where the peer that sent this is in the tree."""
        return self.coords[:-1]

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The key of each hop, from the root down to the peer that sent this."""
        return tuple([hop.public_key for hop in self.hops])

    def has_loop(self, own_key: bytes) -> bool:
        """Whether following this would close a loop: our own key is among the signers or one signed twice."""
        signers = self.signers
        return own_key in signers or len(set(signers)) < len(signers)


SignedHop = tuple[bytes, bytes, bytes, bytes]
"""(public_key, message, signature, prefix_digest) of one hop; see `iter_signed`."""


def encode_announcement(announcement: Announcement) -> bytes:
    """The payload of a tree announcement; CodecError for values that have no encoding."""
    return encode_root(announcement.root) + b"".join(map(_encode_hop, announcement.hops))


def _encode_hop(hop: Hop) -> bytes:
    return varu64.encode(hop.port) + checked_key(hop.public_key) + checked_signature(hop.signature)


def decode_announcement(data: Buffer) -> Announcement:
    """The announcement in a payload; fewer than 97 bytes behind the last hop are ignored.

    CodecError when the root or a hop is cut off or an integer is not minimal. Signatures are not looked at.
    """
    root, offset = decode_root(data)
    raw = bytes(data)
    hops = []
    while len(raw) - offset >= MIN_HOP_LENGTH:
        port, key_start = varu64.decode_minimal(raw, offset)
        key_end = key_start + KEY_LENGTH
        offset = key_end + SIGNATURE_LENGTH
        if offset > len(raw):
            raise CodecError("hop cut off")
        hops.append(Hop(port, raw[key_start:key_end], raw[key_end:offset]))
    return Announcement(root, tuple(hops))


class Onward(NamedTuple):
    """An announcement to pass on, encoded but for our port of the peer that gets it, which nobody signs."""

    root: Root
    above: bytes
    """Its root and the hops down to us."""
    own_hop: bytes
    """Our hop, without the port that it begins with."""

    def payload(self, port: int) -> bytes:
        """What goes to the peer on `port`."""
        return self.above + varu64.encode(port) + self.own_hop


def sign_onward(announcement: Announcement, signer: Signer) -> Onward:
    """Sign once, and encode once, what the peers of `signer`, who follows `announcement`, are to be sent."""
    above = encode_announcement(announcement)
    own_hop = checked_key(signer.public_key) + checked_signature(signer.sign(above))
    return Onward(announcement.root, above, own_hop)


def append_hop(announcement: Announcement, port: int, signer: Signer) -> Announcement:
    """The announcement for the peer on `port` of `signer`, who follows `announcement`."""
    hop = Hop(port, signer.public_key, signer.sign(encode_announcement(announcement)))
    return replace(announcement, hops=(*announcement.hops, hop))


def iter_signed(announcement: Announcement) -> Iterator[SignedHop]:
    """What there is to verify, hop by hop: (public_key, message, signature, prefix_digest).

    `message` is what that hop signed: the root and the hops before it. `prefix_digest` is the 32-byte BLAKE2b
    of these and the hop itself, by which a prefix whose hops all verified can be remembered.
    """
    encoded = encode_announcement(announcement)
    digest = hashlib.blake2b(digest_size=_PREFIX_DIGEST_LENGTH)
    start, end = 0, len(encode_root(announcement.root))
    for hop in announcement.hops:
        message = encoded[:end]
        end += len(_encode_hop(hop))
        digest.update(encoded[start:end])
        start = end
        yield hop.public_key, message, hop.signature, digest.digest()
