# SPDX-License-Identifier: Apache-2.0
"""Discovery at work: a task for each segment that sends beacons there and hears those of others.

What it knows of peerings are the numbers of their links: dialling, taking calls and closing are lent by
the daemon, so this room needs to know no transport.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from asyncio_dgram import TransportClosed

from pineconed.discovery.beacon import INTERVAL, Beacon, encode_beacon
from pineconed.discovery.beacon_socket import BeaconSocket
from pineconed.discovery.interfaces import Interface, InterfaceChange, IpAddress
from pineconed.discovery.policy import Closing, Dial, DiscoveryPolicy
from pineconed.discovery.segments import Choice, Found, Segment, judge
from pineconed.rate import TokenBucket
from pineconed.router.events import Event, LinkAnnounced, LinkDown, LinkUp

RETRY = 10.0
"""Seconds until a segment whose socket could not be opened is tried again, and between two sweeps."""

HEARD_PER_SECOND = 2000.0
HEARD_BURST = 200
"""Datagrams that are looked at on one segment; in a flood the kernel drops the rest."""

DEAF = 0.1
"""Seconds for which it does."""


class Linker(Protocol):
    """What discovery needs done with streams."""

    async def dial(self, dial: Dial) -> tuple[int, IpAddress]:
        """Connect, within 5 s, and make a link of it; its number and our address. OSError says why not."""
        ...

    def close_link(self, link: int, reason: str) -> None:
        """Close a link; nothing happens when it is gone."""
        ...


class Reporter(Protocol):
    """Who is told what an operator may want to know. Other nodes cause some of it in any number."""

    def lan_on(self, segment: Segment) -> None:
        """Discovery takes part on this segment from now on."""
        ...

    def lan_off(self, segment: Segment) -> None:
        """It no longer does: the interface or its address is gone, or it is no longer wanted."""
        ...

    def lan_failed(self, segment: Segment, reason: str) -> None:
        """A socket cannot be opened, or beacons cannot be sent."""
        ...

    def lan_dial_failed(self, dial: Dial, reason: str) -> None:
        """A node that sent beacons could not be connected."""
        ...

    def lan_double(self, segment: Segment, source: IpAddress) -> None:
        """Somebody else there sends beacons with this node's own key."""
        ...


@dataclass(slots=True)
class _Served:
    """A segment that discovery takes part in. `error` is why it does not just now."""

    task: asyncio.Task[None] = field(init=False)
    sent: int = 0
    heard: int = 0
    on: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LanSnapshot:
    """One interface at one moment.

    `reason` tells why discovery does not use it, or what is wrong; addresses are those of its segments.
    `peers` are nodes connected there by discovery, `waiting` those heard and not connected.
    """

    interface: str
    used: bool
    reason: str | None
    addresses: tuple[IpAddress, ...]
    beacons_sent: int
    beacons_heard: int
    peers: int
    waiting: int


@dataclass(frozen=True, slots=True)
class LanSettings:
    """What the operator wants.

    `port` is what beacons announce, None for no beacons; `listen` is to those of others. Not `on`: neither.
    """

    port: int | None
    on: bool = True
    listen: bool = True
    choice: Choice = field(default_factory=Choice)


class LanDiscovery:
    """Discovery of one node. Its methods are called in the loop; `clock` gives seconds for the policy."""

    def __init__(
        self,
        policy: DiscoveryPolicy,
        own_key: bytes,
        settings: LanSettings,
        linker: Linker,
        reporter: Reporter,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._own_key = own_key
        self._settings = settings
        self._linker = linker
        self._reporter = reporter
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._interfaces: tuple[Interface, ...] = ()
        self._found: tuple[Found, ...] = ()
        self._served: dict[Segment, _Served] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._upkeep = self._loop.create_task(self._keep_up())

    async def close(self) -> None:
        """Send and hear nothing any more, and dial nobody. The links that are up stay up."""
        tasks = [self._upkeep, *self._dials, *(served.task for served in self._served.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._served.clear()

    # ---------------------------------------------------------------- what happens around it

    def handle_change(self, change: InterfaceChange) -> None:
        """Follow the interfaces: the argument for `InterfaceWatcher.subscribe`."""
        self._interfaces = change.interfaces
        self._follow()

    def apply(self, settings: LanSettings) -> None:
        """Go on with other settings. Peerings on interfaces that are no longer used end."""
        self._settings = settings
        for segment in list(self._served):
            self._leave(segment)
        self._follow()

    def _follow(self) -> None:
        self._found = judge(self._interfaces, self._settings.choice) if self._settings.on else ()
        segments = [segment for found in self._found for segment in found.segments]
        for segment in [segment for segment in self._served if segment not in segments]:
            self._leave(segment)
        self._close(self._policy.set_segments(segments))
        for segment in segments:
            if segment not in self._served:
                served = self._served[segment] = _Served()
                served.task = self._loop.create_task(self._serve(segment, served))

    def _leave(self, segment: Segment) -> None:
        served = self._served.pop(segment)
        served.task.cancel()
        if served.on:
            self._reporter.lan_off(segment)

    def handle_event(self, event: Event) -> None:
        """Follow the links that belong to discovery; all other events and links do not matter."""
        if isinstance(event, LinkUp):
            self._close(self._policy.link_up(event.link, event.public_key))
        elif isinstance(event, LinkAnnounced):
            self._close(self._policy.link_announced(event.link))
        elif isinstance(event, LinkDown):
            self._policy.link_down(event.link, self._clock())

    def segment_of(self, local: IpAddress, remote: IpAddress, index: int) -> Segment | None:
        """See `DiscoveryPolicy.segment_of`: where a call belongs, None if it is to be refused."""
        segment = self._policy.segment_of(local, remote, index)
        if segment is None:
            self._policy.counters["calls_refused"] += 1
        return segment

    def called(self, link: int, segment: Segment, local: IpAddress, remote: IpAddress) -> None:
        """Another node called, and this is the link."""
        self._policy.called(link, segment, local, remote, self._clock())

    def _close(self, closings: list[Closing]) -> None:
        for link, reason in closings:
            self._policy.counters["peerings_closed"] += 1
            self._linker.close_link(link, reason)

    # ---------------------------------------------------------------- one segment

    async def _serve(self, segment: Segment, served: _Served) -> None:
        """Open the socket and use it; whenever it fails, again after a while."""
        while True:
            try:
                await self._use(segment, served, await BeaconSocket.open(segment))
            except OSError as error:
                self._fail(segment, served, error)
            await asyncio.sleep(RETRY)

    async def _use(self, segment: Segment, served: _Served, opened: BeaconSocket) -> None:
        served.on, served.error = True, None
        self._reporter.lan_on(segment)
        speaker = self._loop.create_task(self._speak(segment, served, opened))
        try:
            if self._settings.listen:
                await self._hear(segment, served, opened)
            else:
                opened.deafen(True)
                await speaker
        finally:
            speaker.cancel()
            opened.close()

    async def _speak(self, segment: Segment, served: _Served, opened: BeaconSocket) -> None:
        port = self._settings.port
        while port is not None:
            try:
                await opened.send(encode_beacon(Beacon(self._own_key, port)))
                served.sent += 1
                served.error = None
            except TransportClosed:
                return
            except OSError as error:
                self._fail(segment, served, error)
            await asyncio.sleep(INTERVAL)

    async def _hear(self, segment: Segment, served: _Served, opened: BeaconSocket) -> None:
        rate = TokenBucket(HEARD_PER_SECOND, HEARD_BURST)
        while True:
            try:
                datagram, source = await opened.receive()
            except TransportClosed:
                return
            except OSError as error:
                self._fail(segment, served, error)
                continue
            now = self._clock()
            if rate.spend(1, now):
                await self._rest(opened)
            else:
                served.heard += source not in segment.own
                self._take(segment, datagram, source, now)

    async def _rest(self, opened: BeaconSocket) -> None:
        """In a flood, hear nothing for a moment."""
        self._policy.counters["floods"] += 1
        opened.deafen(True)
        await asyncio.sleep(DEAF)
        opened.deafen(False)

    def _take(self, segment: Segment, datagram: bytes, source: IpAddress, now: float) -> None:
        doubles = self._policy.counters["beacons_of_own_key_elsewhere"]
        dial = self._policy.hear(segment, datagram, source, now)
        if dial is not None:
            task = self._loop.create_task(self._dial(dial))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)
        elif self._policy.counters["beacons_of_own_key_elsewhere"] > doubles:
            self._reporter.lan_double(segment, source)

    def _fail(self, segment: Segment, served: _Served, error: OSError) -> None:
        reason = served.error = error.strerror or str(error)
        self._reporter.lan_failed(segment, reason)

    # ---------------------------------------------------------------- dials, and what is left

    async def _dial(self, dial: Dial) -> None:
        try:
            link, local = await self._linker.dial(dial)
        except OSError as error:
            self._policy.dial_failed(dial, self._clock())
            self._reporter.lan_dial_failed(dial, str(error))
        else:
            self._close(self._policy.dial_opened(dial, link, local, self._clock()))

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            self._policy.sweep(self._clock())

    # ---------------------------------------------------------------- looking

    @property
    def enabled(self) -> bool:
        """Whether the operator wants any of it."""
        return self._settings.on

    @property
    def counters(self) -> Counter[str]:
        """What became of beacons, dials and peerings since the start."""
        return self._policy.counters

    def snapshot(self) -> list[LanSnapshot]:
        """Every interface of this host, and what became of it."""
        return [self._row(found) for found in self._found]

    def _row(self, found: Found) -> LanSnapshot:
        served = [self._served[segment] for segment in found.segments if segment in self._served]
        errors = [each.error for each in served if each.error]
        return LanSnapshot(
            interface=found.interface.name,
            used=bool(found.segments),
            reason=found.reason or (errors[0] if errors else None),
            addresses=tuple(segment.address for segment in found.segments),
            beacons_sent=sum(each.sent for each in served),
            beacons_heard=sum(each.heard for each in served),
            peers=self._policy.peers(found.interface.index),
            waiting=self._policy.waiting(found.interface.index),
        )
