# SPDX-License-Identifier: Apache-2.0
"""Nodes of the reference, whose packets travel in the clear: only those that the operator listed."""

from collections.abc import Collection

from pineconed.overlay.address import ADDRESS_LENGTH, OVERLAY_PREFIX
from pineconed.overlay.session.session import Tally
from pineconed.wire.keys import KEY_LENGTH, KEY_PADDING, KEY_PREFIX_LENGTH


class BarePeers:
    """The list, and what is counted of each."""

    def __init__(self, listed: Collection[bytes]) -> None:
        """`listed` holds 32-byte keys and 16-byte overlay addresses; ValueError for anything else."""
        self.listed = frozenset(map(_prefix, listed))
        """The first 15 bytes of their keys."""
        self.tallies: dict[bytes, Tally] = {}
        """By the same, those that packets were exchanged with."""

    def tally(self, prefix: bytes) -> Tally:
        """What is counted of a listed node."""
        tally = self.tallies.get(prefix)
        if tally is None:
            tally = self.tallies[prefix] = Tally(0.0)
        return tally


def bare_key(prefix: bytes) -> bytes:
    """Where the packets for a listed node go: nothing has proved its whole key."""
    return prefix + KEY_PADDING


def _prefix(entry: bytes) -> bytes:
    if len(entry) == KEY_LENGTH:
        return entry[:KEY_PREFIX_LENGTH]
    if len(entry) == ADDRESS_LENGTH and entry.startswith(OVERLAY_PREFIX):
        return entry[len(OVERLAY_PREFIX) :]
    raise ValueError(f"{entry.hex()} is neither a key nor an address in fd00::/8")
