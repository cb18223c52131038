# SPDX-License-Identifier: Apache-2.0
"""Which of several peerings to one node may be next hops (protocol section 6)."""

from collections.abc import Iterator, Mapping

from pineconed.node.link import Link
from pineconed.router.peer import Peers

LIVENESS_SILENCE = 2.0
"""Seconds of silence after which another peering to the same node is preferred."""


def liveness(links: Mapping[int, Link], peers: Peers, now: float) -> Iterator[tuple[int, bool]]:
    """Each port, and whether its peering counts as live at `now` seconds.

    Only one that has announced itself can take the place of another: it leads somewhere, and it takes more
    than a handshake, which can be a recorded one.
    """
    newest: dict[bytes, float] = {}
    for port, link in links.items():
        peer = peers[port]
        if peer.heard is not None:
            newest[peer.public_key] = max(newest.get(peer.public_key, 0.0), link.peering.last_heard)
    for port, link in links.items():
        heard = link.peering.last_heard
        outdone = newest.get(peers[port].public_key, 0.0) > heard
        yield port, not (outdone and now - heard >= LIVENESS_SILENCE)
