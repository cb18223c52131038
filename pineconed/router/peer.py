# SPDX-License-Identifier: Apache-2.0
"""What the control plane knows of each peering."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pineconed.dataplane.table import PeerAnnouncement
from pineconed.wire.announcement import Announcement
from pineconed.wire.root import Root


class PeerType(IntEnum):
    """The kind of medium under a peering; lower is preferred (protocol section 2)."""

    PIPE = 0
    MULTICAST = 1
    BONJOUR = 2
    REMOTE = 3
    BLUETOOTH = 4


class Direction(StrEnum):
    """Which side opened the stream."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What the edge knows of a byte stream before the handshake.

    `zone` is the free string of protocol section 2 and never leaves the node; `configured` marks
    peers that the operator named, for which ports are kept free. `proven_key` is the key that the transport
    itself proved (protocol section 10). Unless empty, `allowed_keys` are the only ones that may be at the
    other end; its key has to begin with `key_prefix`. `spent` are the seconds that the transport took of the
    time for the handshake.
    """

    peer_type: PeerType
    zone: str
    uri: str
    direction: Direction
    configured: bool = False
    proven_key: bytes | None = None
    allowed_keys: frozenset[bytes] = frozenset()
    key_prefix: bytes = b""
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class HeardAnnouncement:
    """The last tree announcement of a peer: when it came (seconds) and as which in the order of all.

    `contains_loop` says that following it would close a loop; kept because selecting a parent asks it of all.
    """

    announcement: Announcement
    received_at: float
    order: int
    contains_loop: bool

    @property
    def root(self) -> Root:
        """The root that the peer follows."""
        return self.announcement.root


@dataclass(slots=True)
class Peer:
    """One peering with its handshake done, known by its port number (1 to 253).

    `live` is false while another peering to the same node is clearly better (protocol section 6).
    `root_sent` is the root of the last announcement that went to this peer.
    """

    port: int
    public_key: bytes
    peer_type: PeerType
    live: bool = True
    heard: HeardAnnouncement | None = None
    root_sent: Root | None = None

    def for_table(self) -> PeerAnnouncement | None:
        """The announcement in the form that the forwarding table takes.

        None also while the peering is not live: step 7 of the next hop would take it all the same.
        """
        if self.heard is None or not self.live:
            return None
        told = self.heard.announcement
        return PeerAnnouncement(told.root, told.peer_coords, told.signers, self.heard.order)


Peers = dict[int, Peer]
"""The peerings of a node by port number."""


def by_port(peers: Peers) -> list[Peer]:
    """All peerings in the order of their port numbers, so that every decision is deterministic."""
    return [peers[port] for port in sorted(peers)]
