# SPDX-License-Identifier: Apache-2.0
"""What the admin API asks of the rest of the daemon, as protocols: tests give it small fakes.

`Node` fulfils NodeSource, `Driver` DriverSource, `Roster` PeerList, `LanDiscovery` LanSource; the daemon's
composition passes them in.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from pineconed.admin.schema import InboundState, LevelName
from pineconed.clock import Now
from pineconed.dataplane.forward import SendResult
from pineconed.node.snapshots import NodeStatus, PeeringSnapshot, RouteSnapshot
from pineconed.overlay.events import OverlayEvent
from pineconed.overlay.snapshots import SessionPage, SessionSnapshot
from pineconed.router.snapshots import SnakeSnapshot, TreeSnapshot


class NodeSource(Protocol):
    """The snapshots of a node."""

    def status(self, now: Now) -> NodeStatus:
        """The node as a whole."""

    def peerings(self, now: Now) -> Sequence[PeeringSnapshot]:
        """Every link, by port."""

    def tree(self, now: Now) -> TreeSnapshot:
        """The place in the spanning tree."""

    def snake(self, now: Now, after: bytes | None, limit: int) -> SnakeSnapshot:
        """At most `limit` rows of the snake table with keys above `after`."""

    def route(self, key: bytes, now: Now) -> RouteSnapshot:
        """Where a frame for this key (32 bytes) would leave."""

    def sessions(self, now: Now, after: bytes | None, limit: int) -> SessionPage:
        """At most `limit` of the nodes that packets are exchanged with, their addresses above `after`."""

    def session(self, public_key: bytes, now: Now) -> SessionSnapshot | None:
        """The one whose key begins with the first 15 bytes of this, None if there is no such."""


class StreamFacts(Protocol):
    """What only the operating system knows of a peering."""

    @property
    def remote(self) -> str:
        """Printable address of the other end."""

    def rtt(self) -> float | None:
        """Round-trip time in seconds, None if the kernel has none."""


class DriverSource(Protocol):
    """The streams under the node's links, and the node's own traffic."""

    def stream_of(self, link: int) -> StreamFacts | None:
        """The stream of this link, None when it is gone."""

    def detach(self, link: int, reason: str) -> None:
        """Close this link; nothing happens when it is gone."""

    def drops(self) -> dict[str, int]:
        """Packets that got lost between the node and its host, by cause."""

    def ping(self, prefix: bytes, data: bytes) -> SendResult | None:
        """Ask the node whose key begins so for `data` back; None without a session, which is then dialled."""

    def subscribe_sessions(self, callback: Callable[[OverlayEvent], None]) -> None:
        """Call this with all that happens to sessions."""


class DialFacts(Protocol):
    """One configured peer."""

    @property
    def uri(self) -> str:
        """Its URI as the dialer writes it."""

    @property
    def source(self) -> str:
        """Where it was configured: `file`, `flag`, `saved` or `api`."""

    @property
    def state(self) -> str:
        """`waiting`, `connecting`, `handshake` or `up`."""

    @property
    def link(self) -> int | None:
        """Its link in the node, None when there is none."""

    @property
    def attempts(self) -> int:
        """Tries since it last worked."""

    @property
    def last_error(self) -> str | None:
        """Why the last try or peering ended."""

    @property
    def next_try_seconds(self) -> float | None:
        """Seconds until the next try."""


class PeerList(Protocol):
    """The configured peers."""

    def peers(self) -> Sequence[DialFacts]:
        """All of them."""

    async def add(self, uri: str, source: str) -> str | None:
        """Dial this peer from now on; its URI as the dialer writes it, None if it is there already.

        ValueError for no URI. One with the source `saved` is written down; SaveError when that cannot be.
        """

    async def remove(self, uri: str) -> DialFacts | None:
        """Dial it no longer, but leave its link alone; what it was, None if it is not in the list.

        SaveError when it is a saved one and cannot be taken out of the file.
        """


class ReloadFacts(Protocol):
    """What became of a reload, as sentences."""

    @property
    def applied(self) -> list[str]:
        """What is different now."""

    @property
    def failed(self) -> list[str]:
        """What should be and could not."""

    @property
    def at_next_start(self) -> list[str]:
        """Settings that only a start applies."""


Reload = Callable[[], Awaitable[ReloadFacts]]
"""Reads the configuration again. ReloadError when there is a mistake in it; then nothing has changed."""


class InboundFacts(Protocol):
    """What becomes of traffic that comes in from the overlay."""

    @property
    def state(self) -> InboundState:
        """`filtered`, `open` or `unknown`."""

    @property
    def explanation(self) -> str:
        """Why, and what to do about it."""


LookAtInbound = Callable[[], Awaitable[InboundFacts]]
"""Looks at the firewall rules of this host, within a few seconds."""


class LanFacts(Protocol):
    """One network interface, as LAN discovery sees it."""

    @property
    def interface(self) -> str:
        """Its name."""

    @property
    def used(self) -> bool:
        """Whether discovery takes part there."""

    @property
    def reason(self) -> str | None:
        """Why not, or what goes wrong."""

    @property
    def addresses(self) -> Sequence[object]:
        """Where beacons come from."""

    @property
    def beacons_sent(self) -> int:
        """Since the interface is used."""

    @property
    def beacons_heard(self) -> int:
        """The same."""

    @property
    def peers(self) -> int:
        """Nodes that are connected there by discovery."""

    @property
    def waiting(self) -> int:
        """Nodes that are heard and not connected."""


class LanSource(Protocol):
    """LAN discovery."""

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What became of beacons, dials and peerings."""

    def snapshot(self) -> Sequence[LanFacts]:
        """Every interface of this host."""


class LogLevels(Protocol):
    """The level of the daemon's log."""

    @property
    def level(self) -> LevelName:
        """The level in force."""

    def set_level(self, level: LevelName) -> None:
        """Log at this level from now on."""
