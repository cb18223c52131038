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

COMMON_PER_SECOND = 3000.0
"""Budget of all peerings together: a third of a processor, with what a stored bootstrap costs besides."""

COMMON_BURST = 1000.0
"""What all peerings together may save up."""

COMMON_PAUSE = 1.0
"""Seconds that an announcement waits when the budget of all is used up, since to look at one costs too."""

RESERVE_PER_SECOND = 10.0
"""What a peering may spend whatever the others do: the bootstraps of fifty nodes."""

RESERVE_BURST = 300.0
"""What a peering may save up of its reserve; more than the longest announcement costs."""

RESERVE_START = 30.0
"""What there is of it at first: an announcement from twenty hops away."""

REMEMBERED_PREFIXES = 8192
"""How many verified announcement prefixes are remembered, in all."""

ANNOUNCEMENT_COST = 10
"""What acting on an announcement costs beside its signatures: it may make us sign and send to every peer."""

MAX_HOPS = 255
"""Hops above which an announcement counts as not announced."""


def common_budget() -> TokenBucket:
    """The signatures that all peerings of a node together may have it verify; full at first."""
    return TokenBucket(COMMON_PER_SECOND, COMMON_BURST)


class SignatureBudget:
    """The signatures that one peering may have us verify.

    They are also taken from what is `common` to all peerings or, when that is used up, from a small reserve
    of this one, which is nearly empty at first. So neither many peerings nor one that comes again and again
    take the processor from everybody, nor from honest peers the little that they need.
    """

    __slots__ = ("_common", "_own", "_reserve")

    def __init__(self, common: TokenBucket, now: float) -> None:
        self._own = TokenBucket(SIGNATURES_PER_SECOND, SIGNATURE_BURST)
        self._common = common
        self._reserve = TokenBucket(RESERVE_PER_SECOND, RESERVE_BURST, RESERVE_START, now)

    def spend(self, signatures: int, now: float) -> float:
        """Spend, and return 0; or spend nothing, and return how many seconds to wait before asking again."""
        if wait := self._own.spend(signatures, now):
            return wait
        if not self._common.spend(signatures, now) or not self._reserve.spend(signatures, now):
            return 0.0
        self._own.give_back(signatures)
        return COMMON_PAUSE


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
