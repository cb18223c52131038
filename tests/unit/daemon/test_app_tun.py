# SPDX-License-Identifier: Apache-2.0
"""What the daemon does about its TUN device, which is a fake."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from pineconed.admin.client import decode
from pineconed.admin.schema import Status
from pineconed.daemon.app import Daemon
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.errors import StartError
from pineconed.tun import attach, nftables
from pineconed.tun.drops import TunDrop
from pineconed.tun.errors import TunError
from pineconed.tun.inbound import Inbound, InboundState
from tests.unit.daemon.life import Lines, ask, changed, lines_of, live
from tests.unit.waiting import until

pytestmark = pytest.mark.usefixtures("lines")


class FakeTun:
    """A descriptor that is readable when the test says so, in place of a TUN device."""

    name = "fake0"
    features = 7

    def __init__(self) -> None:
        self.drops: Counter[TunDrop] = Counter()
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        self.closed = False

    def fileno(self) -> int:
        return self._out

    def read_packets(self, _: int) -> list[bytes]:
        raise OSError(77, "File descriptor in bad state")

    def write(self, _: list[bytes]) -> None:
        """Packets vanish."""

    def wake(self) -> None:
        os.write(self._in, b"x")

    def close(self) -> None:
        self.closed = True
        os.close(self._out)
        os.close(self._in)


@pytest.fixture
def tun(monkeypatch: pytest.MonkeyPatch) -> FakeTun:
    """The device that the daemon gets, on a host that uses unique local addresses itself."""
    device = FakeTun()

    async def open_fake(*_: object, **__: object) -> FakeTun:
        return device

    async def neighbours(_: str) -> list[str]:
        return ["address fd12::1/64 on eth0"]

    monkeypatch.setattr(attach, "open_tun", open_fake)
    monkeypatch.setattr(attach, "foreign_unique_locals", neighbours)
    monkeypatch.setattr(nftables, "look", lambda name: Inbound("open", f"{name} is open"))
    return device


def test_the_interface_is_named_and_closed(config: Loaded, lines: Lines, tun: FakeTun) -> None:
    live(changed(config, tun={"enabled": True}))
    assert lines_of(lines, "pineconed is ready")[0]["tun"] == "fake0"
    assert tun.closed


@pytest.mark.parametrize(
    ("state", "level"), [("open", "warning"), ("filtered", "info"), ("unknown", "warning")]
)
def test_whether_inbound_is_open_is_told_at_the_start(
    config: Loaded,
    lines: Lines,
    tun: FakeTun,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    state: InboundState,
    level: str,
) -> None:
    monkeypatch.setattr(nftables, "look", lambda name: Inbound(state, f"so it is with {name}"))

    async def ask_when_told(_: Daemon) -> None:
        await until(lambda: bool(lines_of(lines, "inbound traffic")))
        status = decode(await ask(tmp_path / "sock", "/v1/status"), Status)
        assert status.inbound is not None
        assert (status.inbound.state, status.inbound.explanation) == (state, "so it is with fake0")

    live(changed(config, tun={"enabled": True}), ask_when_told)
    [line] = lines_of(lines, "inbound traffic")
    assert (line["log_level"], line["state"], line["interface"]) == (level, state, "fake0")
    assert line["detail"] == "so it is with fake0"


def test_other_users_of_the_address_range_are_named(config: Loaded, lines: Lines, tun: FakeTun) -> None:
    live(changed(config, tun={"enabled": True}))
    [line] = lines_of(lines, "this host uses fd00::/8 for something else too")
    assert line["found"] == "address fd12::1/64 on eth0"
    assert "tun.route = false" in line["remedy"]


def test_without_the_route_they_do_not_matter(config: Loaded, lines: Lines, tun: FakeTun) -> None:
    live(changed(config, tun={"enabled": True, "route": False}))
    assert not lines_of(lines, "this host uses fd00::/8 for something else too")


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (0, ["this kernel has no segmentation offload for TUN devices: small MTUs cost more"]),
        (5, ["this kernel has no segmentation offload for UDP; those from 6.2 on have it"]),
        (7, []),
    ],
)
def test_what_the_kernel_lacks_is_told(
    config: Loaded, lines: Lines, tun: FakeTun, features: int, told: list[str]
) -> None:
    tun.features = features
    live(changed(config, tun={"enabled": True}))
    assert [line["event"] for line in lines if "offload" in line["event"]] == told


def test_offload_that_is_not_wanted_is_not_missed(config: Loaded, lines: Lines, tun: FakeTun) -> None:
    tun.features = 0
    live(changed(config, tun={"enabled": True, "offload": False}))
    assert not [line for line in lines if "offload" in line["event"]]


def test_without_its_interface_the_daemon_ends(config: Loaded, tun: FakeTun) -> None:
    async def lose(daemon: Daemon) -> None:
        tun.wake()
        await asyncio.wait({daemon._over})
        daemon._lose_tun("once more")

    with pytest.raises(StartError, match=r"the interface fake0 is gone .*start the daemon again"):
        live(changed(config, tun={"enabled": True}), lose)
    assert tun.closed


def test_what_is_wrong_with_the_interface_is_told(config: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise TunError("no permission", "run as root")

    monkeypatch.setattr(attach, "open_tun", fail)
    with pytest.raises(StartError, match="no permission; run as root"):
        live(changed(config, tun={"enabled": True}))
