# SPDX-License-Identifier: Apache-2.0
"""The composition: every part of the daemon, opened in order and closed in the opposite one.

key, locks       who we are, and that nobody else is
TUN device       where this host's packets come and go
node, driver     the protocol core, and what moves its bytes
listeners        where others reach us
interfaces       told to LAN discovery and to roaming when they change
LAN discovery    the nodes on the same network
Bluetooth        the nodes in reach of the radio
dialer, roster   the configured peers
admin server     what pineconectl talks to
upkeep           once a second: dials that failed, lines left out of the log, whether this host slept

From then on a reload may change the listeners, the peers, LAN discovery, Bluetooth, and the rules.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import IPv6Address

import structlog

from pineconed import __version__
from pineconed.admin.errors import ReloadError
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.identifier import parse_identifier
from pineconed.daemon.admin_sockets import claim_sockets, open_sockets
from pineconed.daemon.ble import Ble
from pineconed.daemon.config import Config
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.driver import Driver
from pineconed.daemon.errors import StartError
from pineconed.daemon.event_log import EventLog
from pineconed.daemon.identity import find_credential, open_credential, open_key
from pineconed.daemon.inbound import Inbound, Reception
from pineconed.daemon.interface import Interface, open_interface
from pineconed.daemon.lan import Lan
from pineconed.daemon.lock import lock_key
from pineconed.daemon.log_limiter import LogLimiter
from pineconed.daemon.logs import LogLevels, write_line
from pineconed.daemon.notify import ServiceNotifier
from pineconed.daemon.reload import Parts, Reloader
from pineconed.daemon.roaming import Roaming
from pineconed.daemon.roster import Roster
from pineconed.daemon.service import ServiceReport
from pineconed.daemon.settings import accept_limits, admission, dial_settings
from pineconed.daemon.sleep import read_clocks
from pineconed.daemon.time_source import read_now
from pineconed.discovery.watcher import InterfaceWatcher
from pineconed.node import Node
from pineconed.node.snapshots import NodeStatus
from pineconed.overlay.address import address_of
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Offer, Party, Timing
from pineconed.router.peer import LinkOptions
from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.transport.connect import Connector
from pineconed.transport.dialer import Dialer, DialState
from pineconed.transport.gate import GAVE_WAY, AcceptGate
from pineconed.transport.stream import Stream
from pineconed.transport.uri import parse_listen_uri
from pineconed.transport.websocket.running import RunningPumps

STOP_SECONDS = 1.5
"""How long closing may take before what is left of it is abandoned."""

GRACE_SECONDS = 0.1
"""How long each part may take after that."""

UPKEEP_SECONDS = 1.0
STOPPING = "the daemon stops"

_log = structlog.get_logger(__name__)


class Daemon:
    """One running pineconed. `run` returns after `stop`; it raises StartError when the daemon cannot run.

    `read` reads the configuration again, for a reload; the saved peers are not asked of it.
    """

    def __init__(
        self,
        loaded: Loaded,
        log_levels: LogLevels,
        notifier: ServiceNotifier,
        read: Callable[[], Loaded],
    ) -> None:
        self._config = loaded.config
        self._loaded = loaded
        self._read = read
        self._log_levels = log_levels
        self._notifier = notifier
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._upkeep: asyncio.TimerHandle | None = None
        self._parts = AsyncExitStack()
        self._limiter = LogLimiter(write_line, log_levels.wants, _seconds)
        self._events = EventLog(self._limiter)
        self._pumps = RunningPumps()
        self._inbound: Inbound | None = None
        self._interface: Interface | None = None
        self._reloader: Reloader | None = None
        self._reload_due = False
        self._reloads: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Let `run` close everything and return; may be called at any moment, also while it still opens."""
        if not self._over.done():
            self._over.set_result(None)

    async def run(self) -> None:
        """Open everything, stay until `stop`, close everything."""
        opening = self._loop.create_task(self._open())
        try:
            await asyncio.wait({opening, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            await self._over
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await self._close()
        _log.info("pineconed has stopped")

    async def _close(self) -> None:
        self._notifier.stopping()
        if self._upkeep is not None:
            self._upkeep.cancel()
        self._parts.push_async_callback(self._end_reloads)
        closing = self._loop.create_task(self._parts.aclose())
        await asyncio.wait({closing}, timeout=STOP_SECONDS)
        if not closing.done():
            _log.warning("not everything could be closed in time", seconds=STOP_SECONDS)
        while not closing.done():  # the part that hangs is abandoned, and the next gets a moment
            closing.cancel()
            await asyncio.wait({closing}, timeout=GRACE_SECONDS)
        if not closing.cancelled():
            closing.result()

    async def _end_reloads(self) -> None:
        for reload in self._reloads:
            reload.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)

    # ---------------------------------------------------------------- opening, in order

    async def _open(self) -> None:
        seed = self._open_key()
        signer = Ed25519Signer(seed)
        interface = await self._open_interface(address_of(signer.public_key))
        node = self._make_node(seed, signer, interface.device.features if interface is not None else 0)
        node.admit_by(admission(self._config.peering), read_now())
        driver = Driver(node, read_now, self._loop)
        self._parts.push_async_callback(self._pumps.close)
        self._parts.callback(driver.close, STOPPING)
        driver.subscribe(self._events.handle_event)
        driver.subscribe_sessions(self._events.handle_session_event)
        driver.start()
        reception = self._make_reception(node, driver, seed)
        inbound = await self._open_listeners(reception)
        if interface is not None:
            driver.attach_tun(interface.device, self._lose_tun)
        watcher = await self._watch_interfaces()
        lan = await self._open_lan(reception, watcher)
        ble = await self._open_ble(reception)
        dialer = self._open_dialer(driver, Connector(signer, self._pumps))
        roster = self._fill_roster(dialer, driver)
        roaming = self._roam(driver, dialer, watcher)
        parts = Parts(
            driver, reception.gate, inbound, dialer, roster, lan, ble, self._log_levels, self._notifier
        )
        reloader = Reloader(self._config, self._read, parts)
        if self._config.admin.enabled:
            await self._open_admin(node, driver, parts, reloader)
        self._keep_up(node, dialer, roaming)
        self._announce(node)
        self._notifier.ready()
        self._report(node, dialer)
        self._accept_reloads(reloader)
        if interface is not None:  # readiness need not wait for it
            await interface.tell_inbound()

    def _open_key(self) -> bytes:
        """The node's seed, which from here on no other daemon on this host uses."""
        config = self._config
        credential = find_credential(os.environ)
        path = credential or config.node.key_file
        key = open_credential(path) if credential else open_key(path)
        self._parts.callback(os.close, key.descriptor)
        if not lock_key(key.descriptor, path):
            _log.warning("the key file cannot be locked here; never run two daemons with it")
        if key.created or credential:
            _log.info("made a new key" if key.created else "the key is systemd's credential", file=str(path))
        claim_sockets(config.admin, self._parts)
        return key.seed

    def _make_node(self, seed: bytes, signer: Ed25519Signer, features: int) -> Node:
        config = self._config
        return Node(
            signer=signer,
            verifier=verify_ed25519,
            party=_party(seed, config, features),
            flow_key=secrets.token_bytes(16),
            now=read_now(),
            bare_ipv6=[parse_identifier(node).key for node in config.overlay.bare_ipv6],
        )

    def _make_reception(self, node: Node, driver: Driver, seed: bytes) -> Reception:
        gate = AcceptGate(
            _seconds,
            accept_limits(self._config.peering),
            self._events.refused,
            lambda link: driver.detach(link, GAVE_WAY),
            self._events.crowded,
        )
        driver.subscribe(gate.handle_event)
        return Reception(node, driver, gate, self._events, self._pumps, _seconds, seed)

    async def _open_listeners(self, reception: Reception) -> Inbound:
        inbound = self._inbound = Inbound(reception)
        self._parts.push_async_callback(inbound.close_all)
        for text in self._config.listen:
            await inbound.open(parse_listen_uri(text))
        return inbound

    async def _open_interface(self, address: bytes) -> Interface | None:
        if not self._config.tun.enabled:
            return None
        interface = self._interface = await open_interface(self._config.tun, address)
        self._parts.callback(interface.device.close)
        return interface

    async def _watch_interfaces(self) -> InterfaceWatcher:
        from pineconed.discovery.netlink import scan_interfaces  # noqa: PLC0415 (pyroute2: 0.2 s)

        watcher = InterfaceWatcher(scan_interfaces)
        self._parts.push_async_callback(watcher.close)
        await watcher.start()
        return watcher

    async def _open_lan(self, reception: Reception, watcher: InterfaceWatcher) -> Lan:
        lan = Lan(reception, self._tun_name)
        self._parts.push_async_callback(lan.close)
        watcher.subscribe(lan.discovery.handle_change)
        await lan.apply(self._config.multicast)
        return lan

    async def _open_ble(self, reception: Reception) -> Ble:
        ble = Ble(reception)
        self._parts.push_async_callback(ble.close)
        await ble.apply(self._config.ble)
        return ble

    def _open_dialer(self, driver: Driver, connector: Connector) -> Dialer:
        def attach(stream: Stream, options: LinkOptions) -> int:
            link = driver.attach(stream, options)
            self._events.opened(link, stream.remote, options.uri, options)
            return link

        dialer = Dialer(connector.connect, attach, dial_settings(self._config.peering))
        self._parts.push_async_callback(dialer.close)
        driver.subscribe(dialer.handle_event)
        return dialer

    def _fill_roster(self, dialer: Dialer, driver: Driver) -> Roster:
        loaded = self._loaded
        roster = Roster(dialer, driver.detach, loaded.config.saved_peers, loaded.connect_source)
        roster.configure(loaded.config.connect, loaded.saved)
        return roster

    def _roam(self, driver: Driver, dialer: Dialer, watcher: InterfaceWatcher) -> Roaming:
        roaming = Roaming(driver, dialer, watcher.interfaces, self._tun_name, read_clocks)
        self._parts.callback(roaming.close)
        watcher.subscribe(roaming.handle_change)
        return roaming

    async def _open_admin(self, node: Node, driver: Driver, parts: Parts, reloader: Reloader) -> None:
        backend = AdminBackend(
            node,
            driver,
            parts.roster,
            self._log_levels,
            __version__,
            clock=read_now,
            tun_name=self._tun_name,
            inbound=self._interface.guard.inbound if self._interface is not None else None,
            listeners=self._listening,
            lan=parts.lan.discovery,
            ble=parts.ble.bluetooth,
            reload=reloader.reload,
        )
        await open_sockets(self._config.admin, backend, self._parts)

    # ---------------------------------------------------------------- while it runs

    @property
    def _tun_name(self) -> str | None:
        return self._interface.device.name if self._interface is not None else None

    def _lose_tun(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(
                StartError(f"the interface {self._tun_name} is gone ({reason}); start the daemon again")
            )

    def reload(self) -> None:
        """Read the configuration again and apply what has changed, as soon as the daemon is ready."""
        self._reload_due = True
        if self._reloader is not None and not self._over.done():
            self._accept_reloads(self._reloader)

    def _accept_reloads(self, reloader: Reloader) -> None:
        self._reloader = reloader
        if self._reload_due:
            self._reload_due = False
            task = self._loop.create_task(_reload(reloader))
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)

    def _keep_up(self, node: Node, dialer: Dialer, roaming: Roaming) -> None:
        """Do the small work of every second, and come back in one, also if a part of it fails."""
        self._upkeep = self._loop.call_later(UPKEEP_SECONDS, self._keep_up, node, dialer, roaming)
        peers = dialer.peers()
        node.configured_peers = len(peers)
        self._events.dialled(peers)
        self._limiter.flush()
        roaming.look_at_clocks()

    # ---------------------------------------------------------------- telling the operator

    def _report(self, node: Node, dialer: Dialer) -> None:
        def look() -> tuple[NodeStatus, int]:
            return node.status(read_now()), sum(
                1 for peer in dialer.peers() if peer.state is not DialState.UP
            )

        report = ServiceReport(self._notifier, look)
        self._parts.callback(report.close)
        report.start()

    def _listening(self) -> list[str]:
        return self._inbound.listening() if self._inbound is not None else []

    def _announce(self, node: Node) -> None:
        config = self._config
        _log.info(
            "pineconed is ready",
            version=__version__,
            address=str(IPv6Address(node.address)),
            own_key=node.public_key.hex(),
            listen=",".join(self._listening()) or "none",
            connect=len(config.connect) + len(self._loaded.saved),
            tun=self._tun_name or "none",
            admin=str(config.admin.socket) if config.admin.enabled else "none",
            config=str(self._loaded.source or "defaults"),
        )
        if not (
            config.listen
            or config.connect
            or self._loaded.saved
            or config.multicast.enabled
            or config.ble.enabled
        ):
            _log.warning(
                "this node neither listens nor connects, so it is alone",
                remedy="name a peer under connect, or add one with pineconectl add-peer",
            )


async def _reload(reloader: Reloader) -> None:
    with contextlib.suppress(ReloadError):  # the log tells
        await reloader.reload()


def _party(seed: bytes, config: Config, features: int) -> Party:
    """Our side of sessions; `features` are those of the TUN device."""
    rekey_after = config.overlay.rekey_after
    usual = Timing()
    share = rekey_after / usual.rekey_after
    timing = Timing(
        rekey_after=rekey_after,
        rekey_jitter=usual.rekey_jitter * share,
        responder_rekey_after=usual.responder_rekey_after * share,
    )
    offer = Offer(mtu=config.tun.mtu, features=features)
    return Party(Ed25519Identity(seed), secrets.token_bytes, offer, timing)


def _seconds() -> float:
    return read_now().seconds
