# SPDX-License-Identifier: Apache-2.0
"""Keeps a peering to every configured peer: one task each, which dials, waits for the end, and dials again.

The wait between two tries doubles up to a bound and is drawn at random, so that nodes which lost the same
peer do not come back together. Only the first valid announcement proves that a peering works and resets it:
a reference node without a free port completes the handshake and closes (protocol section 2).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from pineconed.router.events import Event, LinkAnnounced, LinkDown, LinkUp
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import CLOSED_BY_PEER, RESET_BY_PEER
from pineconed.transport.uri import PeerUri

Connect = Callable[[PeerUri, float], Awaitable[Stream]]

FRESH = 3.0
"""Seconds for which a network counts as new: routes and name servers often come a moment after an address."""

FRESH_WAIT = 1.0
"""Seconds between two tries meanwhile, if back-off does not ask for less."""

FRESH_TRY = 1.5
"""Seconds that one try may take meanwhile: its packets may still leave by the route of the old network."""

STATIC_ZONE = "static"
"""The zone of configured peers (protocol section 2)."""


class DialState(StrEnum):
    """What a configured peer is doing."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    UP = "up"


@dataclass(frozen=True, slots=True)
class DialSettings:
    """Seconds: the shortest and the longest wait between two tries, and how long one address may take."""

    backoff_min: float = 1.0
    backoff_max: float = 60.0
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class DialSnapshot:
    """A configured peer at one moment.

    source: `file`, `flag`, `saved` or `api`. link: its link in the node while it has one. attempts: tries
    since it last worked. next_try_seconds: how long it still waits, None when it does not.
    """

    uri: str
    source: str
    state: DialState
    link: int | None
    attempts: int
    last_error: str | None
    next_try_seconds: float | None


@dataclass(slots=True)
class _Peer:
    """A configured peer; `ended` gets the reason when the link that is up now goes down.

    failures: tries since it last worked or a network came, which the wait grows with. fresh_until: when that
    network is new no more. at_once: the link that is up now may be of the network before; if it ends while
    this one is new, there is no wait.
    """

    uri: PeerUri
    source: str
    state: DialState = DialState.WAITING
    link: int | None = None
    attempts: int = 0
    failures: int = 0
    last_error: str | None = None
    next_try: float | None = None
    fresh_until: float = 0.0
    at_once: bool = False
    ended: asyncio.Future[str] | None = None


class Dialer:
    """The configured peers of a daemon, by name; its methods are called inside the running loop.

    `connect` gives a connected stream within a number of seconds, or raises OSError. `attach` takes it into
    the driver and returns its link; `handle_event` must see every event of the node. `chance` gives numbers
    in [0, 1) for the jitter. `settings` may be replaced at any time.
    """

    def __init__(
        self,
        connect: Connect,
        attach: Callable[[Stream, LinkOptions], int],
        settings: DialSettings | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._attach = attach
        self.settings = settings or DialSettings()
        self._chance = chance
        self._peers: dict[str, _Peer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_link: dict[int, _Peer] = {}

    def add(self, uri: PeerUri, source: str) -> None:
        """Dial this peer from now on. There is none of its name in the list."""
        self._peers[uri.name] = _Peer(uri, source)
        self._begin(uri.name)

    def relabel(self, name: str, source: str) -> None:
        """The peer of this name is configured elsewhere from now on."""
        self._peers[name].source = source

    def remove(self, name: str) -> None:
        """Dial the peer of this name no longer. A link that it has now stays up."""
        self._forget_link(self._peers.pop(name))
        self._tasks.pop(name).cancel()

    def dial_now(self, wanted: Callable[[PeerUri], bool] = lambda _: True) -> None:
        """A network has come by which the wanted peers may be reached: dial those that are down.

        Their back-off begins anew. A try that runs does too, as its packets may leave from an address that is
        gone. A peering that ends soon after this is dialled without a wait.
        """
        now = asyncio.get_running_loop().time()
        for name, peer in self._peers.items():
            if wanted(peer.uri):
                idle = peer.state in {DialState.WAITING, DialState.CONNECTING}
                peer.failures, peer.fresh_until, peer.at_once = 0, now + FRESH, not idle
                if idle:
                    self._begin(name)

    def peers(self) -> list[DialSnapshot]:
        """All configured peers in the order in which they were added."""
        now = asyncio.get_running_loop().time()
        return [_snapshot(peer, now) for peer in self._peers.values()]

    async def close(self) -> None:
        """Stop dialling. The links that are up stay up."""
        tasks = list(self._tasks.values())
        for name in list(self._peers):
            self.remove(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    def handle_event(self, event: Event) -> None:
        """Follow the links that were dialled here; all other events and links do not matter."""
        if not isinstance(event, LinkUp | LinkAnnounced | LinkDown):
            return
        peer = self._by_link.get(event.link)
        if peer is None:
            return
        if isinstance(event, LinkUp):
            peer.state = DialState.UP
        elif isinstance(event, LinkAnnounced):
            peer.attempts, peer.failures, peer.last_error = 0, 0, None
        elif peer.ended is not None and not peer.ended.done():
            peer.ended.set_result(_why(peer, event.reason))

    def _begin(self, name: str) -> None:
        """Dial this peer from now on, in place of what its task did so far."""
        if name in self._tasks:
            self._tasks[name].cancel()
        peer = self._peers[name]
        peer.next_try = None
        task = asyncio.get_running_loop().create_task(self._keep_up(peer), name=f"dial {name}")
        task.add_done_callback(_show_failure)
        self._tasks[name] = task

    async def _keep_up(self, peer: _Peer) -> None:
        while True:
            peer.last_error = await self._try(peer)
            now = asyncio.get_running_loop().time()
            wait = self._wait(peer, now)
            peer.state, peer.next_try = DialState.WAITING, now + wait
            await asyncio.sleep(wait)
            peer.next_try = None

    async def _try(self, peer: _Peer) -> str:
        """Connect once and stay until the peering ends; why it did."""
        peer.state = DialState.CONNECTING
        peer.attempts += 1
        peer.failures += 1
        try:
            async with asyncio.timeout(self._longest_try(peer)):
                stream = await self._connect(peer.uri, self.settings.connect_timeout)
        except TimeoutError:
            peer.at_once = True
            return "no answer by the new network so far"
        except OSError as error:
            return str(error)
        except Exception as fault:  # noqa: BLE001  (shown; perhaps memory or threads have run out for now)
            message = f"dialling {peer.uri.name} failed"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": fault})
            return f"internal fault: {type(fault).__name__}"
        peer.link = self._attach(stream, _options(peer.uri, stream))
        self._by_link[peer.link] = peer
        peer.state, peer.ended = DialState.HANDSHAKE, asyncio.get_running_loop().create_future()
        reason = await peer.ended
        self._forget_link(peer)
        return reason

    def _longest_try(self, peer: _Peer) -> float | None:
        """Seconds that a try may take in all, None for as long as connecting allows."""
        return FRESH_TRY if asyncio.get_running_loop().time() < peer.fresh_until else None

    def _wait(self, peer: _Peer, now: float) -> float:
        """Seconds until the next try."""
        at_once, peer.at_once = peer.at_once, False
        if at_once and now < peer.fresh_until + FRESH_TRY:
            return 0.0
        if now >= peer.fresh_until:
            return self._backoff(peer)
        peer.failures = 0
        return min(FRESH_WAIT, self._backoff(peer))

    def _backoff(self, peer: _Peer) -> float:
        """From `backoff_min` to twice that at first; the range doubles until it ends at `backoff_max`."""
        longest = peer.uri.options.max_backoff or self.settings.backoff_max
        shortest = min(self.settings.backoff_min, longest)
        upper = min(longest, shortest * 2.0 ** min(max(peer.failures, 1), 32))
        lower = max(shortest, upper / 2)
        return lower + (upper - lower) * self._chance()

    def _forget_link(self, peer: _Peer) -> None:
        if peer.link is not None:
            self._by_link.pop(peer.link, None)
        peer.link = peer.ended = None


def after_handshake(reason: str) -> str:
    """Why a peering ended between the handshake and the first announcement, and what may be behind that."""
    if reason not in {CLOSED_BY_PEER, RESET_BY_PEER}:
        return reason
    return f"{reason} after the handshake: perhaps it does not allow this node's key, or has too many peers"


def _why(peer: _Peer, reason: str) -> str:
    """Why a link went down; with what may be behind it if the peer hung up before it announced anything.

    The handshake of Pinecone has no way to say so.
    """
    if reason not in {CLOSED_BY_PEER, RESET_BY_PEER} or not peer.attempts:
        return reason
    if peer.state is DialState.UP:
        return after_handshake(reason)
    return (
        f"{reason} before its handshake: perhaps its listener is of another scheme, such as wss://, "
        "or takes no more connections"
    )


def _options(uri: PeerUri, stream: Stream) -> LinkOptions:
    return LinkOptions(
        PeerType.PIPE if uri.scheme == "unix" else PeerType.REMOTE,
        STATIC_ZONE,
        uri.name,
        Direction.OUTBOUND,
        configured=True,
        proven_key=stream.proven_key,
        allowed_keys=frozenset(uri.options.keys),
    )


def _snapshot(peer: _Peer, now: float) -> DialSnapshot:
    left = None if peer.next_try is None else max(0.0, peer.next_try - now)
    return DialSnapshot(
        peer.uri.name, peer.source, peer.state, peer.link, peer.attempts, peer.last_error, left
    )


def _show_failure(task: asyncio.Task[None]) -> None:
    """A dialling task never ends by itself: let the loop's exception handler report the fault."""
    if not task.cancelled():
        task.result()
