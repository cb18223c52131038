# SPDX-License-Identifier: Apache-2.0
"""What a node reports to whoever drives it. All events are frozen; `Node.events()` drains them in order."""

from dataclasses import dataclass

from pineconed.wire.coordinates import Coords
from pineconed.wire.root import Root


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The handshake on `link` is done; the peering has a port number."""

    link: int
    port: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class LinkAnnounced:
    """The first valid tree announcement came by this link: a dialler may reset its back-off."""

    link: int
    port: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class CloseLink:
    """The node has ended this link: the edge must close its stream at once.

    `remote_fault` tells a broken rule from silence or a full house.
    """

    link: int
    reason: str
    remote_fault: bool


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link is gone, whoever ended it.

    `port` is None if it was never a peering, also because the other node may be none; `public_key` if its
    handshake never said who that is.
    """

    link: int
    port: int | None
    public_key: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class RootChanged:
    """The node follows another root key, or another sequence of it, at these coords."""

    root: Root
    coords: Coords


@dataclass(frozen=True, slots=True)
class ParentChanged:
    """The node has another parent; None when it is the root of its tree."""

    public_key: bytes | None
    port: int | None


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A wakeup broadcast of this node came by."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class PeerMisbehaved:
    """Something from this link was dropped that an honest peer does not send; the peering lives on."""

    link: int
    cause: str
    detail: str


Event = (
    LinkUp | LinkAnnounced | CloseLink | LinkDown | RootChanged | ParentChanged | NodeSeen | PeerMisbehaved
)
"""Every event that a node reports."""
