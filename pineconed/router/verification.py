# SPDX-License-Identifier: Apache-2.0
"""Signature checks with a price: what a peer may make us verify (protocol sections 1, 4 and 6).

Each peering has a budget of signatures a second. Bootstraps and broadcasts beyond it are refused; of
announcements the newest waits until there is budget again. Prefixes of announcements that were
verified once are remembered, because the upper hops are the same for all that follow one root.
"""

from pineconed.rate import TokenBucket
from pineconed.router.errors import PeerFaultError
from pineconed.signing import Verifier
from pineconed.wire.announcement import Announcement, iter_signed

SIGNATURES_PER_SECOND = 500.0
"""Budget of one peering."""

SIGNATURE_BURST = 500.0
"""What an idle peering may save up."""

REMEMBERED_PREFIXES = 8192
"""How many verified announcement prefixes are remembered, in all."""

ANNOUNCEMENT_COST = 10
"""What acting on an announcement costs beside its signatures: it may make us sign and send to every peer."""

MAX_HOPS = 255
"""Hops above which an announcement counts as not announced."""


class SignatureBudget(TokenBucket):
    """The signatures that one peering may have us verify; full at first."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(SIGNATURES_PER_SECOND, SIGNATURE_BURST)


def check_announcement(update: Announcement, peer_key: bytes, last: Announcement | None) -> None:
    """Check all of an announcement that costs nothing.

    Raises `PeerFaultError` where the protocol ends the peering.
    """
    signers = update.signers
    if not signers:
        raise PeerFaultError("announcement without hops")
    if signers[0] != update.root.public_key:
        raise PeerFaultError("announcement not begun by its root")
    if signers[-1] != peer_key:
        raise PeerFaultError("announcement whose last signer is not the peer", signers[-1].hex())
    if 0 in update.coords:
        raise PeerFaultError("announcement with port 0")
    if len(set(signers)) != len(signers):
        raise PeerFaultError("announcement with a loop", "a node signed it twice")
    if last and last.root.public_key == update.root.public_key and update.root.sequence < last.root.sequence:
        detail = f"{update.root.sequence} after {last.root.sequence}"
        raise PeerFaultError("announcement with an old sequence", detail)


class AnnouncementVerifier:
    """Checks the signatures of announcements, each prefix once."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._known: dict[bytes, None] = {}

    def unverified(self, update: Announcement) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """The hops that are still to be verified, as `iter_signed` gives them."""
        hops = list(iter_signed(update))
        for done in range(len(hops), 0, -1):
            if hops[done - 1][3] in self._known:
                return hops[done:]
        return hops

    def verify(self, hops: list[tuple[bytes, bytes, bytes, bytes]]) -> None:
        """Verify these hops, in order. Raises `PeerFaultError` at the first bad signature."""
        for public_key, message, signature, prefix_digest in hops:
            if not self._verifier(public_key, message, signature):
                raise PeerFaultError("announcement with a bad signature", f"hop of {public_key.hex()}")
            self._remember(prefix_digest)

    def _remember(self, digest: bytes) -> None:
        if len(self._known) >= REMEMBERED_PREFIXES:
            del self._known[next(iter(self._known))]
        self._known[digest] = None
