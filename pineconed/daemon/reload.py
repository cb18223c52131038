# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration again and applies what has changed in it, and nothing else."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import structlog

from pineconed.admin.errors import ReloadError
from pineconed.daemon.ble import Ble
from pineconed.daemon.changes import Changes, changes, in_force
from pineconed.daemon.config import Config
from pineconed.daemon.config_load import ConfigError, Loaded
from pineconed.daemon.driver import Driver
from pineconed.daemon.errors import StartError
from pineconed.daemon.inbound import Inbound
from pineconed.daemon.lan import Lan
from pineconed.daemon.logs import LogLevels
from pineconed.daemon.notify import ServiceNotifier
from pineconed.daemon.roster import Difference, Roster
from pineconed.daemon.saved_peers import read_saved
from pineconed.daemon.settings import accept_limits, admission, dial_settings
from pineconed.transport.dialer import Dialer
from pineconed.transport.gate import AcceptGate

OTHER_OPTIONS = "the options of its listener have changed"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reload changes."""

    driver: Driver
    gate: AcceptGate
    inbound: Inbound
    dialer: Dialer
    roster: Roster
    lan: Lan
    ble: Ble
    log_levels: LogLevels
    notifier: ServiceNotifier


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a reload, one sentence each.

    applied: what is different now. failed: what should be and could not. at_next_start: settings, as
    `section.key`, that have changed and that only a start applies.
    """

    applied: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    at_next_start: list[str] = field(default_factory=list)


class Reloader:
    """Brings a running daemon to what `read` says; `config` is in force now."""

    def __init__(self, config: Config, read: Callable[[], Loaded], parts: Parts) -> None:
        self._config = config
        self._read = read
        self._parts = parts
        self._busy = asyncio.Lock()

    async def reload(self) -> Outcome:
        """Read and apply. ReloadError when there is a mistake in a file; then nothing is changed."""
        async with self._busy:
            self._parts.notifier.reloading()
            try:
                outcome = await self._reload()
            except ConfigError as error:
                for line in str(error).splitlines():
                    _log.error("the configuration is wrong, so nothing is changed", mistake=line)
                raise ReloadError(str(error)) from error
            finally:
                self._parts.notifier.ready()
        _tell(outcome)
        return outcome

    async def _reload(self) -> Outcome:
        async with self._parts.roster.busy:
            config = self._read().config
            saved = read_saved(self._config.saved_peers)
            steps = changes(self._config, config)
            outcome = Outcome(at_next_start=list(steps.at_next_start))
            outcome.applied.extend(self._set(steps, config))
            outcome.applied.extend(_dialled(self._parts.roster.configure(config.connect, saved)))
        await self._listen(steps, outcome)
        if steps.multicast and not await self._discover(config, outcome):
            # The next reload tries anew.
            config = msgspec.structs.replace(config, multicast=self._config.multicast)
        if steps.ble:
            await self._parts.ble.apply(config.ble)
            outcome.applied.append(
                f"Bluetooth is {'on, as the file says now' if config.ble.enabled else 'off'}"
            )
        self._config = in_force(self._config, config, self._parts.inbound.configured())
        return outcome

    def _set(self, steps: Changes, config: Config) -> Iterator[str]:
        """What takes but an assignment."""
        parts, peering = self._parts, config.peering
        if steps.log_level is not None:
            parts.log_levels.set_level(steps.log_level)
            yield f"the log level is {steps.log_level}"
        if steps.admission:
            parts.driver.admit_by(admission(peering))
            parts.ble.bluetooth.reconsider()
            yield "who may peer has changed"
        if steps.limits:
            parts.gate.limit(accept_limits(peering))
            yield "the limits on inbound connections have changed"
        if steps.backoff:
            parts.dialer.settings = dial_settings(peering)
            yield "the waits between two tries to dial have changed"

    async def _listen(self, steps: Changes, outcome: Outcome) -> None:
        inbound = self._parts.inbound
        outcome.failed.extend(inbound.refresh())
        again = {uri.name for uri in steps.opened}
        for name in steps.closed:
            await inbound.close(name)
            if name in again:
                inbound.hang_up(name, OTHER_OPTIONS)
            else:
                outcome.applied.append(f"no longer listening at {name}")
        for uri in steps.opened:
            try:
                await inbound.open(uri)
                outcome.applied.append(f"listening at {uri}")
            except StartError as error:
                outcome.failed.append(str(error))

    async def _discover(self, config: Config, outcome: Outcome) -> bool:
        """Whether LAN discovery is as it is wanted now."""
        try:
            await self._parts.lan.apply(config.multicast)
        except StartError as error:
            outcome.failed.append(str(error))
            return False
        outcome.applied.append(
            f"LAN discovery is {'as the file says now' if config.multicast.enabled else 'off'}"
        )
        return True


def _dialled(peers: Difference) -> Iterator[str]:
    yield from (f"no longer dialling {name}" for name in peers.ended if name not in peers.begun)
    yield from (f"dialling {name}" for name in peers.begun)


def _tell(outcome: Outcome) -> None:
    for sentence in outcome.failed:
        _log.error("part of the configuration cannot be applied", reason=sentence)
    for setting in outcome.at_next_start:
        _log.warning("a changed setting takes effect at the next start", setting=setting)
    _log.info("the configuration is reloaded", changes="; ".join(outcome.applied) or "none")
