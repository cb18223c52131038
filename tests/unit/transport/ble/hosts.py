# SPDX-License-Identifier: Apache-2.0
"""Whole daemons on one radio, each with a device in place of a TUN interface."""

import asyncio
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from pineconed.admin.client import AdminClient, decode
from pineconed.admin.schema import Peer
from pineconed.admin.schema_ble import Ble
from pineconed.daemon import app
from pineconed.daemon.app import Daemon
from pineconed.daemon.ble import Ble as DaemonBle
from pineconed.daemon.config import BleSection
from pineconed.daemon.config_load import Loaded, Overrides, load
from pineconed.daemon.logs import LogLevels
from pineconed.daemon.notify import ServiceNotifier
from pineconed.overlay.address import address_of
from pineconed.transport.ble.backend import Backend
from pineconed.transport.ble.bumble import BumbleBackend
from pineconed.tun import attach, nftables
from pineconed.tun.drops import TunDrop
from pineconed.tun.inbound import Inbound
from tests.unit.transport.ble.radio import Radio

TUN_MTU = 1280


def seeds(count: int = 2) -> list[bytes]:
    """Seeds in the order of their public keys."""
    made = [bytes([number]) * 32 for number in range(1, count + 1)]
    return sorted(made, key=lambda seed: bytes(SigningKey(seed).verify_key))


class Device:
    """What a daemon takes for its TUN device; the test gives packets in and looks at what came out."""

    features = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.drops: Counter[TunDrop] = Counter()
        self.out: list[bytes] = []
        self._waiting: deque[bytes] = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._event

    def send(self, packets: list[bytes]) -> None:
        self._waiting.extend(packets)
        os.eventfd_write(self._event, 1)

    def read_packets(self, _: int) -> list[bytes]:
        os.eventfd_read(self._event)
        packets = list(self._waiting)
        self._waiting.clear()
        return packets

    def write(self, packets: list[bytes]) -> None:
        self.out += map(bytes, packets)

    def close(self) -> None:
        os.close(self._event)


class Notes(ServiceNotifier):
    """Tells when a daemon is ready."""

    def __init__(self) -> None:
        super().__init__({})
        self.is_ready = asyncio.Event()

    def ready(self) -> None:
        self.is_ready.set()

    def stopping(self) -> None:
        """Nobody asks."""


class Host:
    """One daemon, named after its controller."""

    def __init__(self, name: str, seed: bytes, folder: Path) -> None:
        self.name = name
        self.key = bytes(SigningKey(seed).verify_key)
        self.address = address_of(self.key)
        self.device = Device(name)
        self.socket = folder / f"{name}.sock"
        key_file = folder / f"{name}.key"
        key_file.write_text(seed.hex() + "\n")
        key_file.chmod(0o600)
        config = folder / f"{name}.toml"
        config.write_text("")
        flags = Overrides(key_file=key_file, admin_socket=str(self.socket), tun=name, multicast=False)
        self.loaded = self.with_ble(load(config, flags))
        self.notes = Notes()
        self.daemon: Daemon | None = None

    def with_ble(self, loaded: Loaded, **changes: object) -> Loaded:
        ble = msgspec.structs.replace(BleSection(enabled=True, adapter=f"bumble:{self.name}"), **changes)
        tun = msgspec.structs.replace(loaded.config.tun, mtu=TUN_MTU, route=False)
        return loaded._replace(config=msgspec.structs.replace(loaded.config, ble=ble, tun=tun))

    def with_blocked(self, loaded: Loaded, key: bytes) -> Loaded:
        peering = msgspec.structs.replace(loaded.config.peering, blocked_keys=(key.hex(),))
        return loaded._replace(config=msgspec.structs.replace(loaded.config, peering=peering))

    def with_tcp(self, port: int, *, listens: bool) -> None:
        """Listen at this port of the loopback, or dial it."""
        uris = (f"tcp://127.0.0.1:{port}",)
        config = msgspec.structs.replace(self.loaded.config, **{"listen" if listens else "connect": uris})
        self.loaded = self.loaded._replace(config=config)

    def reload(self) -> None:
        """Have the daemon do what `loaded` says now."""
        assert self.daemon is not None
        self.daemon.reload()

    def read(self) -> Loaded:
        """The configuration as it is now."""
        return self.loaded

    async def _ask(self, call: str) -> bytes:
        return await asyncio.to_thread(AdminClient(str(self.socket)).get, call)

    async def peers(self) -> list[Peer]:
        return decode(await self._ask("/v1/peers"), list[Peer])

    async def bluetooth_peers(self) -> list[Peer]:
        return [peer for peer in await self.peers() if peer.type == "bluetooth" and peer.announced]

    async def ble(self) -> Ble:
        return decode(await self._ask("/v1/ble"), Ble)


class Place:
    """A radio and the daemons on it; what else drives their adapters, if `opener` does."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, opener: Callable[[str], Backend] | None = None
    ) -> None:
        self.radio = Radio()
        self._folder = folder
        self._devices: dict[str, Device] = {}
        monkeypatch.setattr(app, "Ble", partial(DaemonBle, opener=opener or self._open_backend))
        monkeypatch.setattr(attach, "open_tun", self._open_tun)
        # Not the rules of the machine that runs the tests, of which the daemon may have to warn.
        monkeypatch.setattr(nftables, "look", lambda _: Inbound("filtered", ""))

    def _open_backend(self, adapter: str) -> BumbleBackend:
        return BumbleBackend(adapter.removeprefix("bumble:"), self.radio.open)

    async def _open_tun(self, name: str, *_: object, **__: object) -> Device:
        return self._devices[name]

    def host(self, name: str, seed: bytes) -> Host:
        host = Host(name, seed, self._folder)
        self._devices[name] = host.device
        return host

    @asynccontextmanager
    async def running(self, *hosts: Host) -> AsyncIterator[None]:
        living = []
        for host in hosts:
            host.daemon = Daemon(host.loaded, LogLevels("debug"), host.notes, host.read)
            living.append(asyncio.create_task(host.daemon.run()))
            await host.notes.is_ready.wait()
        try:
            yield
        finally:
            for host in hosts:
                if host.daemon is not None:
                    host.daemon.stop()
            await asyncio.gather(*living)


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Return as soon as the condition holds; TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (what is waited for is in another thread)
            await asyncio.sleep(0.05)
