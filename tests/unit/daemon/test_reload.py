# SPDX-License-Identifier: Apache-2.0
"""What happens while a reload waits for the address of a listener, and after one that failed in part."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pineconed.admin.client import AdminClient, decode
from pineconed.admin.requests import AddPeer
from pineconed.admin.schema import Reloaded
from pineconed.daemon.app import Daemon
from pineconed.daemon.config_load import Overrides, load
from pineconed.daemon.lan import Lan
from pineconed.daemon.logs import LogLevels
from pineconed.daemon.notify import ServiceNotifier
from pineconed.daemon.saved_peers import read_saved
from pineconed.transport import tcp_place
from pineconed.transport.listener import ListenError
from pineconed.transport.resolve import SocketAddress, resolve
from tests.unit.daemon.life import changed, live

SLOW = "slow.test"
SAVED = "tcp://127.0.0.1:1"


class SlowNames:
    """In place of the resolver: one name has its address when the test says so."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, host: str, port: int, timeout: float) -> list[SocketAddress]:
        if host != SLOW:
            return await resolve(host, port, timeout)
        self.asked.set()
        await self.answer.wait()
        return await resolve("127.0.0.1", port, timeout)


class Live:
    """A daemon in this process, in the middle of a reload that opens a listener."""

    def __init__(self, folder: Path, names: SlowNames) -> None:
        (folder / "c.toml").write_text("")
        flags = Overrides(
            key_file=folder / "key", admin_socket=str(folder / "sock"), tun="none", multicast=False
        )
        before = load(folder / "c.toml", flags)
        after = msgspec.structs.replace(before.config, listen=(f"tcp://{SLOW}:0", "tcp://127.0.0.1:0"))
        self.names = names
        self.saved_peers = before.config.saved_peers
        self.daemon = Daemon(
            before, LogLevels("info"), ServiceNotifier({}), lambda: before._replace(config=after)
        )
        self.socket = folder / "sock"

    async def post(self, path: str, body: msgspec.Struct) -> None:
        await asyncio.to_thread(AdminClient(str(self.socket)).post, path, body)


def during_a_reload(
    folder: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Live], Awaitable[Any]]
) -> None:
    async def whole_life() -> None:
        names = SlowNames()
        monkeypatch.setattr(tcp_place, "resolve", names)
        live = Live(folder, names)
        living = asyncio.create_task(live.daemon.run())
        live.daemon.reload()
        await names.asked.wait()
        await check(live)
        live.daemon.stop()
        await living

    asyncio.run(asyncio.wait_for(whole_life(), 20))


def test_a_peer_that_is_saved_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(live: Live) -> None:
        await live.post("/v1/peers", AddPeer(SAVED, save=True))
        live.names.answer.set()
        await asyncio.gather(*live.daemon._reloads)
        await live.post("/v1/peers", AddPeer("tcp://127.0.0.1:2", save=True))
        assert read_saved(live.saved_peers) == (SAVED, "tcp://127.0.0.1:2")

    during_a_reload(tmp_path, monkeypatch, check)


def test_a_reload_does_not_outlive_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(live: Live) -> None:
        reloads = list(live.daemon._reloads)
        live.daemon.stop()
        await asyncio.wait(reloads, timeout=5)
        assert [reload.cancelled() for reload in reloads] == [True]

    during_a_reload(tmp_path, monkeypatch, check)


def test_discovery_that_failed_is_tried_again_by_the_next_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text("")
    socket = tmp_path / "sock"
    flags = Overrides(key_file=tmp_path / "key", admin_socket=str(socket), tun="none", multicast=False)
    before = load(tmp_path / "c.toml", flags)
    after = changed(before, multicast={"enabled": True, "include": ("none",)})
    works = Lan._listen_at

    async def refuse(*_: object) -> int:
        raise ListenError("too many open files")

    async def reload() -> Reloaded:
        return decode(await asyncio.to_thread(AdminClient(str(socket)).post, "/v1/reload"), Reloaded)

    async def act(daemon: Daemon) -> None:
        monkeypatch.setattr(Lan, "_listen_at", refuse)
        for _ in range(2):
            assert (await reload()).failed == [
                "LAN discovery: too many open files; --no-multicast runs without it"
            ]
        monkeypatch.setattr(Lan, "_listen_at", works)
        assert (await reload()).applied == ["LAN discovery is as the file says now"]
        assert (await reload()).applied == []

    live(before, act, later=after)
