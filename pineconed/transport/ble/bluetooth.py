# SPDX-License-Identifier: Apache-2.0
"""Bluetooth at work: drives a backend as the policy says, and makes links of its channels.

The backend follows its adapter; as long as that is ready, one task sets up what is wanted and makes one step
after the other. What it knows of peerings are the numbers of their links: the daemon lends the rest.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pineconed.router.events import CloseLink, Event, LinkAnnounced, LinkDown, LinkUp
from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState, Backend, BleError, Channel, Sighting
from pineconed.transport.ble.policy import STEP_LIMIT, BlePolicy, Closing, Dial, SightingSnapshot
from pineconed.transport.ble.value import PREFIX_LENGTH, Value, encode_value

RETRY = 5.0
"""Seconds until what could not be set up is tried again, and between two looks whether it still is."""

TICK = 0.1
"""Seconds between two looks at who is due, however many sightings there are."""

CLOSING = 2.0
"""Seconds that a backend may take to close."""

SWITCHED_OFF = "Bluetooth peerings are switched off, or are to use another adapter"

T = TypeVar("T")


class Linker(Protocol):
    """What is needed done with channels."""

    def attach(self, channel: Channel, dial: Dial | None) -> int:
        """Make a link of a channel, which the other side opened if `dial` is None; its number."""
        ...

    def close_link(self, link: int, reason: str) -> None:
        """Close a link; nothing happens when it is gone."""
        ...


class Reporter(Protocol):
    """Who is told what an operator may want to know. Other nodes cause some of it in any number."""

    def ble_adapter(self, report: AdapterReport) -> None:
        """The adapter is ready, or no longer, and why."""
        ...

    def ble_failed(self, adapter: str, reason: str) -> None:
        """Something that is wanted cannot be set up, and is tried again."""
        ...

    def ble_step_failed(self, address: BleAddress, reason: str) -> None:
        """A device that was seen could not be read or dialled."""
        ...


@dataclass(frozen=True, slots=True)
class BleSettings:
    """What the operator wants. `adapter` is text for `open_backend`."""

    on: bool = False
    adapter: str = ""
    advertise: bool = True
    scan: bool = True


@dataclass(frozen=True, slots=True)
class RadioSnapshot:
    """A channel. `rssi`: dBm as its device was last received, None if unknown; see `Channel` for the rest."""

    rssi: int | None
    psm: int
    mtu_in: int | None
    mtu_out: int | None


@dataclass(frozen=True, slots=True)
class BleSnapshot:
    """Bluetooth at one moment.

    report: None before the first. psm: on which channels are taken, None if they are not. error: what cannot
    be set up just now.
    """

    report: AdapterReport | None
    advertising: bool
    scanning: bool
    psm: int | None
    error: str | None
    sightings: tuple[SightingSnapshot, ...]


class Bluetooth:
    """The Bluetooth of one node. Its methods are called in the loop; `clock` gives seconds for the policy.

    `open_backend` makes a backend of the text that names an adapter; BleError when it has none for that.
    """

    def __init__(
        self,
        policy: BlePolicy,
        own_key: bytes,
        open_backend: Callable[[str], Backend],
        linker: Linker,
        reporter: Reporter,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._own_prefix = own_key[:PREFIX_LENGTH]
        self._open_backend = open_backend
        self._linker = linker
        self._reporter = reporter
        self._clock = clock
        self._settings = BleSettings()
        self._backend: Backend | None = None
        self._report: AdapterReport | None = None
        self._worker: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._psm: int | None = None
        self._error: str | None = None
        self._channels: dict[int, Channel] = {}

    async def apply(self, settings: BleSettings) -> None:
        """Do what the operator wants from now on; may be called again when that changes."""
        before, self._settings = self._settings, settings
        if (settings.on, settings.adapter) != (before.on, before.adapter):
            await self._stop()
            if settings.on:
                self._start()
        elif settings != before and self._report and self._report.state is AdapterState.READY:
            self._begin_work()

    async def close(self) -> None:
        """Stop, and leave the adapter alone."""
        await self.apply(BleSettings())

    def _start(self) -> None:
        try:
            self._backend = self._open_backend(self._settings.adapter)
        except BleError as error:
            self._note(AdapterReport(AdapterState.FAILED, self._settings.adapter, detail=str(error)))
        else:
            self._backend.start(self._note)

    async def _stop(self) -> None:
        worker, backend = self._worker, self._backend
        self._backend = self._report = None
        self._end_work(SWITCHED_OFF)
        if worker is not None:
            await asyncio.wait({worker})
        if backend is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await backend.close()

    # ---------------------------------------------------------------- the adapter comes and goes

    def _note(self, report: AdapterReport) -> None:
        was_ready = self._report is not None and self._report.state is AdapterState.READY
        self._report = report
        self._reporter.ble_adapter(report)
        if was_ready:
            self._end_work(f"the Bluetooth adapter {report.name} is gone: {report.detail or report.state}")
        if report.state is AdapterState.READY:
            self._begin_work()

    def _begin_work(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
        self._policy.begin_anew()
        loop = asyncio.get_running_loop()
        self._worker = loop.create_task(self._work(self._worker), name="bluetooth")

    def _end_work(self, reason: str) -> None:
        """Nothing that was set up is left."""
        if self._worker is not None:
            self._worker.cancel()
        self._psm = self._error = None
        self._policy.begin_anew()
        self._close([Closing(link, reason) for link in self._policy.links()])

    async def _work(self, previous: asyncio.Task[None] | None) -> None:
        """Set up what is wanted, and read and dial whoever is due, until cancelled."""
        if previous is not None:
            await asyncio.wait({previous})
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while self._backend is not None:
            if loop.time() >= look_at:
                if await self._set_up(self._backend):
                    self._error = None
                self._policy.sweep(self._clock())
                look_at = loop.time() + RETRY
            address = self._policy.next_read(self._clock()) if self._settings.scan else None
            if address is not None:
                await self._connect(self._backend, address)
            else:
                await self._wait(look_at - loop.time())

    async def _wait(self, longest: float) -> None:
        """Until somebody may be due: a new sighting came, or for a second, as waits end by themselves."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(1.0, longest))):
                await self._wake.wait()
        await asyncio.sleep(TICK)

    # ---------------------------------------------------------------- being found, and finding

    async def _set_up(self, backend: Backend) -> bool:
        """Do what is wanted and not done; whether all of it is done now."""
        return all([await self._try(step) for step in self._due_steps(backend)])

    def _due_steps(self, backend: Backend) -> Iterator[Awaitable[None]]:
        """Each is made when the one before is over: if that is cancelled, no coroutine is left unawaited."""
        wanted = self._settings
        if self._psm is None:
            yield self._listen(backend)
        if wanted.scan and not backend.scanning:
            yield backend.scan(self._see)
        if not wanted.scan and backend.scanning:
            yield backend.stop_scanning()
        if wanted.advertise and not backend.advertising:
            yield self._advertise(backend)
        if not wanted.advertise and backend.advertising:
            yield backend.stop_advertising()

    async def _listen(self, backend: Backend) -> None:
        self._psm = await backend.listen(self._accept)

    async def _advertise(self, backend: Backend) -> None:
        if self._psm is not None:
            await backend.advertise(encode_value(Value(self._psm, self._own_prefix)))

    async def _try(self, step: Awaitable[None]) -> bool:
        try:
            await _within(step)
        except TimeoutError:
            self._fail(f"nothing happened within {STEP_LIMIT:g} s")
        except OSError as error:
            self._fail(str(error))
        except Exception as fault:  # noqa: BLE001  (shown; tried again)
            self._fail(_show(fault))
        else:
            return True
        return False

    def _fail(self, reason: str) -> None:
        """Tell once, however often it is tried again."""
        if reason != self._error:
            self._error = reason
            self._reporter.ble_failed(self._report.name if self._report else "", reason)

    def _see(self, sighting: Sighting) -> None:
        self._policy.sighted(sighting.address, sighting.rssi, self._clock())
        self._wake.set()

    def _accept(self, channel: Channel) -> None:
        if not self._policy.may_accept(channel.remote):
            channel.socket.close()
            return
        self._policy.accepted(self._attach(channel, None), channel.remote)

    def _attach(self, channel: Channel, dial: Dial | None) -> int:
        link = self._linker.attach(channel, dial)
        self._channels[link] = channel
        return link

    # ---------------------------------------------------------------- one step

    async def _connect(self, backend: Backend, address: BleAddress) -> None:
        """Read one device, and dial it if it is for us to do."""
        try:
            data = await _within(backend.read(address))
            dial = self._policy.value_read(address, data, self._clock())
            if dial is None:
                await _within(backend.release(address))
                return
            channel = await _within(backend.dial(address, dial.psm))
        except TimeoutError:
            self._give_up(address, f"no answer within {STEP_LIMIT:g} s")
        except OSError as error:
            self._give_up(address, str(error))
        except Exception as fault:  # noqa: BLE001  (shown; the device waits)
            self._give_up(address, _show(fault))
        else:
            self._policy.dialled(self._attach(channel, dial), dial)

    def _give_up(self, address: BleAddress, reason: str) -> None:
        self._policy.failed(address, reason, self._clock())
        self._reporter.ble_step_failed(address, reason)

    # ---------------------------------------------------------------- links

    def handle_event(self, event: Event) -> None:
        """Follow the links that belong to Bluetooth; all other events and links do not matter."""
        if isinstance(event, LinkUp):
            self._close(self._policy.link_up(event.link, event.public_key))
        elif isinstance(event, LinkAnnounced):
            self._close(self._policy.link_announced(event.link))
        elif isinstance(event, CloseLink) and event.remote_fault:
            self._policy.link_at_fault(event.link, event.reason)
        elif isinstance(event, LinkDown):
            channel = self._channels.pop(event.link, None)
            if channel is not None and channel.overrun():
                self._policy.counters["channels_overrun"] += 1
            self._policy.link_down(event.link, event.reason, self._clock())

    def _close(self, closings: list[Closing]) -> None:
        for link, reason in closings:
            self._linker.close_link(link, reason)

    # ---------------------------------------------------------------- looking

    @property
    def enabled(self) -> bool:
        """Whether the operator wants it."""
        return self._settings.on

    @property
    def counters(self) -> Counter[str]:
        """What became of sightings, reads, dials and channels since the start."""
        return self._policy.counters

    def radio(self, link: int) -> RadioSnapshot | None:
        """What the radio adds to a link, None for those of others."""
        channel = self._channels.get(link)
        if channel is None:
            return None
        return RadioSnapshot(self._policy.rssi(channel.remote), channel.psm, channel.mtu_in, channel.mtu_out)

    def reconsider(self) -> None:
        """Who may peer has changed."""
        self._policy.reconsider()

    def snapshot(self) -> BleSnapshot:
        """The adapter, what it does, and who was seen."""
        backend = self._backend if self._report and self._report.state is AdapterState.READY else None
        return BleSnapshot(
            report=self._report,
            advertising=backend is not None and backend.advertising,
            scanning=backend is not None and backend.scanning,
            psm=self._psm,
            error=self._error,
            sightings=tuple(self._policy.sightings(self._clock())),
        )


async def _within(step: Awaitable[T]) -> T:
    async with asyncio.timeout(STEP_LIMIT):
        return await step


def _show(fault: Exception) -> str:
    context = {"message": "a step of Bluetooth failed", "exception": fault}
    asyncio.get_running_loop().call_exception_handler(context)
    return f"internal fault: {type(fault).__name__}"
