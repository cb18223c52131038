# SPDX-License-Identifier: Apache-2.0
"""The composition inside the test's own process, with a fake TUN device."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from pineconed.admin.client import decode
from pineconed.admin.schema import Peer, Status
from pineconed.daemon import app, run
from pineconed.daemon.app import Daemon
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.errors import StartError
from pineconed.daemon.logs import LogLevels
from pineconed.daemon.roaming import Roaming
from pineconed.daemon.time_source import read_now
from pineconed.overlay.session.party import Offer, Timing
from pineconed.signing import Ed25519Signer
from pineconed.transport import tcp_place
from tests.unit.daemon.life import Lines, Loops, Notes, ask, changed, lines_of, live
from tests.unit.waiting import until

pytestmark = pytest.mark.usefixtures("lines")


# ---------------------------------------------------------------- a whole life


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_opens_tells_lives_and_closes(config: Loaded, lines: Lines, loops: Loops, tmp_path: Path) -> None:
    async def look(_: Daemon) -> None:
        status = decode(await ask(tmp_path / "sock", "/v1/status"), Status)
        assert status.tun is None
        assert [line.rpartition(":")[0] for line in status.listeners] == ["tcp://127.0.0.1"]

    told = live(changed(config, listen=("tcp://127.0.0.1:0",)), look, loops)
    assert told == ["ready", "stopping"]
    assert not (tmp_path / "sock").exists()
    [banner] = lines_of(lines, "pineconed is ready")
    assert banner["tun"] == "none"
    assert banner["listen"].startswith("tcp://127.0.0.1:")
    assert banner["address"].startswith("fd")
    assert len(banner["own_key"]) == 64
    assert lines[-1]["event"] == "pineconed has stopped"


def test_a_credential_goes_before_the_key_file_and_none_is_made(
    config: Loaded, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "node.key").write_text("57" * 32)
    (directory / "node.key").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    live(config)
    assert not (tmp_path / "key").exists()
    [line] = lines_of(lines, "the key is systemd's credential")
    assert line["file"] == str(directory / "node.key")
    [banner] = lines_of(lines, "pineconed is ready")
    assert banner["own_key"] == Ed25519Signer(bytes([0x57]) * 32).public_key.hex()


def test_everybody_may_ask_the_status_socket(config: Loaded, tmp_path: Path) -> None:
    async def look(_: Daemon) -> None:
        status = decode(await ask(tmp_path / "status", "/v1/status"), Status)
        assert (status.reduced, status.listeners) == (True, [])
        assert (tmp_path / "status").stat().st_mode & 0o777 == 0o666

    live(changed(config, admin={"status_socket": str(tmp_path / "status")}), look)
    assert not list(tmp_path.glob("status*"))


def test_without_an_admin_socket_there_is_no_status_socket(config: Loaded, tmp_path: Path) -> None:
    async def look(_: Daemon) -> None:
        assert not (tmp_path / "status").exists()

    live(changed(config, admin={"enabled": False, "status_socket": str(tmp_path / "status")}), look)


def test_a_status_socket_of_another_daemon_is_named(config: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "status"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartError, match=r"uses the status socket .*admin\.status_socket"):
            live(changed(config, admin={"status_socket": str(path)}))


def test_systemd_hears_how_the_node_is(config: Loaded) -> None:
    seen: list[str] = []
    live(config, seen=seen)
    [line] = seen
    assert line.startswith("no peers, root this node; this node is fd")


def test_a_node_that_nobody_can_meet_is_told_so(config: Loaded, lines: Lines) -> None:
    alone = "this node neither listens nor connects, so it is alone"
    live(changed(config, listen=("127.0.0.1:0",)))
    assert not lines_of(lines, alone)
    live(config)
    assert len(lines_of(lines, alone)) == 1


def test_stopping_twice_is_stopping_once(config: Loaded) -> None:
    async def stop(daemon: Daemon) -> None:
        daemon.stop()

    assert live(config, stop) == ["ready", "stopping"]


def test_peers_from_the_file_are_dialled_and_failures_told(
    config: Loaded, lines: Lines, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"tcp://127.0.0.1:{server.getsockname()[1]}"

    async def look(_: Daemon) -> None:
        await until(lambda: bool(lines_of(lines, "cannot connect")))
        [peer] = decode(await ask(tmp_path / "sock", "/v1/peers"), list[Peer])
        assert (peer.uri, peer.source) == (uri, "file")

    live(changed(config, connect=(uri,)), look)
    [line] = lines_of(lines, "cannot connect")
    assert (line["uri"], line["log_level"]) == (uri, "warning")
    assert "nobody listens there" in line["reason"]


def test_connections_over_a_limit_are_told(config: Loaded, lines: Lines) -> None:
    async def connect_twice(daemon: Daemon) -> None:
        host, _, port = daemon._listening()[0].removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))):
            await until(lambda: bool(lines_of(lines, "connection refused")))

    live(changed(config, listen=("127.0.0.1:0",), peering={"half_open": 1}), connect_twice)
    [line] = lines_of(lines, "connection refused")
    assert line["source"] == "127.0.0.1"


# ---------------------------------------------------------------- what keeps it from running


def test_without_a_free_port_it_does_not_run(config: Loaded, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(StartError, match=f"{uri}: cannot listen .* in use"):
            live(changed(config, listen=(uri,)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.toml", "key"]


def test_an_unknown_group_of_the_socket_is_told(config: Loaded) -> None:
    with pytest.raises(StartError, match=r"there is no group 'nonesuch' .*groupadd nonesuch"):
        live(changed(config, admin={"group": "nonesuch"}))


def test_a_key_that_cannot_be_locked_is_a_warning(
    config: Loaded, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "lock_key", lambda *_: False)
    live(config)
    assert lines_of(lines, "the key file cannot be locked here; never run two daemons with it")


@pytest.mark.timeout(10)
def test_it_can_be_stopped_while_it_still_opens(
    config: Loaded, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async def stop_early() -> None:
        loaded = changed(config, listen=("silent:1",))
        daemon = Daemon(loaded, LogLevels("info"), Notes(), lambda: loaded)
        asyncio.get_running_loop().call_later(0.05, daemon.stop)
        await daemon.run()

    monkeypatch.setattr(tcp_place, "resolve", never)
    asyncio.run(stop_early())
    assert lines[-1]["event"] == "pineconed has stopped"


@pytest.mark.timeout(10)
def test_what_does_not_close_is_abandoned(
    config: Loaded, lines: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def hang(daemon: Daemon) -> None:
        for _ in range(3):
            daemon._parts.push_async_callback(asyncio.Event().wait)

    monkeypatch.setattr(app, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(app, "GRACE_SECONDS", 0.01)
    live(config, hang)
    assert lines_of(lines, "not everything could be closed in time")
    assert not (tmp_path / "sock").exists()


def test_upkeep_goes_on_after_a_fault(config: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "UPKEEP_SECONDS", 0.01)
    looks: list[str] = []

    def fail(_: Roaming) -> None:
        monkeypatch.setattr(Roaming, "look_at_clocks", lambda _: looks.append("after"))
        raise ZeroDivisionError("a mistake")

    async def act(_: Daemon) -> None:
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(str(context["exception"]))
        )
        monkeypatch.setattr(Roaming, "look_at_clocks", fail)
        await until(lambda: len(looks) >= 2)
        assert faults == ["a mistake"]

    live(config, act)


# ---------------------------------------------------------------- the process around it


@pytest.fixture
def process_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what `run_until_stopped` changes for the whole process."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(run, "set_up_logs", lambda *_: LogLevels("info"))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def kill_when_ready(lines: Lines) -> None:
    await until(lambda: bool(lines_of(lines, "pineconed is ready")))
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("with_uvloop", [True, False])
@pytest.mark.usefixtures("process_as_before")
def test_a_signal_ends_it_and_the_next_one_would_kill(
    config: Loaded, lines: Lines, monkeypatch: pytest.MonkeyPatch, with_uvloop: bool
) -> None:
    if not with_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    killer = threading.Thread(target=asyncio.run, args=[kill_when_ready(lines)])
    killer.start()
    run.run_until_stopped(config, lambda: config)
    killer.join()
    assert lines[-1]["event"] == "pineconed has stopped"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_clock_counts_seconds_and_unix_milliseconds() -> None:
    first, second = read_now(), read_now()
    assert second.seconds >= first.seconds > 0
    assert first.unix_ms > 1_700_000_000_000


@pytest.mark.parametrize(("rekey_after", "timing"), [(120.0, Timing()), (12.0, Timing(12.0, 1.0, 15.0))])
def test_our_side_of_sessions_is_as_configured(config: Loaded, rekey_after: float, timing: Timing) -> None:
    settings = changed(config, overlay={"rekey_after": rekey_after}, tun={"mtu": 1400}).config
    party = app._party(bytes(32), settings, 5)
    assert party.timing == timing
    assert party.offer == Offer(mtu=1400, features=5)
    assert party.identity.public_key == Ed25519Signer(bytes(32)).public_key
