# SPDX-License-Identifier: Apache-2.0
"""What the daemon does when this host moves to another network, and when it wakes up.

An address that is gone takes its peerings along at once, where TCP would hope for it for seconds. An address
that has come is tried at once, whatever the back-off says. A host that slept longer than silence is borne
has been given up by all of its peers, so it begins anew with them.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from pineconed.daemon.driver import Driver
from pineconed.daemon.sleep import Clocks, SleepDetector
from pineconed.discovery.interfaces import Interface, InterfaceChange, Place, places
from pineconed.peering.peering import SILENCE_TIMEOUT
from pineconed.transport.dialer import Dialer
from pineconed.transport.stream import LocalEnd
from pineconed.transport.uri import PeerUri

DIAL_PAUSE = 1.0
"""The least seconds between two rounds of dialling, when networks come and go quickly."""

SLEPT = "this host slept for {:.0f} s"

_log = structlog.get_logger(__name__)


class Roaming:
    """Follows the interfaces and the clocks.

    `known` are the interfaces that are no news, `own_device` is the name of our TUN device.
    """

    def __init__(
        self,
        driver: Driver,
        dialer: Dialer,
        known: Iterable[Interface],
        own_device: str | None,
        clocks: Callable[[], Clocks],
    ) -> None:
        self._driver = driver
        self._dialer = dialer
        self._known = places(known)
        self._own_device = own_device
        self._clocks = clocks
        self._sleep = SleepDetector(clocks())
        self._loop = asyncio.get_running_loop()
        self._came: list[Place] = []
        self._dial: asyncio.TimerHandle | None = None
        self._dialled = self._loop.time() - DIAL_PAUSE

    def close(self) -> None:
        """Dial nobody any more."""
        if self._dial is not None:
            self._dial.cancel()

    def handle_change(self, change: InterfaceChange) -> None:
        """Follow the interfaces: the argument for `InterfaceWatcher.subscribe`."""
        if change.went:
            self._drop(change)
        if came := self._of_use(change):
            _log.debug("a network has come", addresses=", ".join(str(place.address) for place in came))
            self._came += came
            self._dial_soon()

    def look_at_clocks(self) -> None:
        """Call this about once a second."""
        slept = self._sleep.slept(self._clocks())
        if not slept:
            return
        _log.info("this host was asleep", seconds=round(slept))
        if slept >= SILENCE_TIMEOUT:
            for number, _ in self._driver.streams():
                self._driver.detach(number, SLEPT.format(slept))
        self._dialer.dial_now()

    # ---------------------------------------------------------------- what has gone

    def _drop(self, change: InterfaceChange) -> None:
        left = {_end(place) for place in places(change.interfaces)}
        gone = {_end(place): place for place in change.went if _end(place) not in left}
        for number, stream in self._driver.streams() if gone else ():
            local = stream.local()
            place = gone.get(local) if local is not None else None
            if place is not None:
                reason = f"{place.interface} is down or has lost the address {place.address}"
                self._driver.detach(number, reason)

    # ---------------------------------------------------------------- what has come

    def _of_use(self, change: InterfaceChange) -> list[Place]:
        """The places by which another host may be reached."""
        useless = {each.index for each in change.interfaces if each.loopback or each.name == self._own_device}
        known, self._known = self._known, ()
        return [place for place in change.came if place.index not in useless and place not in known]

    def _dial_soon(self) -> None:
        """Dial now, or when enough time has passed since the last round."""
        wait = self._dialled + DIAL_PAUSE - self._loop.time()
        if wait <= 0:
            self._dial_now()
        elif self._dial is None:
            self._dial = self._loop.call_later(wait, self._dial_now)

    def _dial_now(self) -> None:
        came, self._came = self._came, []
        self._dial, self._dialled = None, self._loop.time()
        self._dialer.dial_now(lambda uri: leads_to(came, uri))


def leads_to(came: Iterable[Place], uri: PeerUri) -> bool:
    """Whether a peer may be reached from one of these places.

    From a link-local address only those that are said to be on that interface: it comes with every container.
    """
    zone = uri.host.partition("%")[2] or uri.options.interface
    return any(not _end(place).scope or place.interface == zone for place in came)


def _end(place: Place) -> LocalEnd:
    """How a socket tells this place."""
    scoped = place.address.version == 6 and place.address.is_link_local
    return LocalEnd(place.address, place.index if scoped else 0)
