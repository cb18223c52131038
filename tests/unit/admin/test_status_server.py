# SPDX-License-Identifier: Apache-2.0
"""The status socket: what strangers are told, and how little of the daemon they can take."""

import asyncio
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pineconed.admin import status_server
from pineconed.admin.errors import AdminSocketError
from pineconed.admin.status_server import MAX_CLIENTS_PER_USER, MAX_REQUEST, StatusServer
from pineconed.clock import Now
from pineconed.node.snapshots import NodeStatus
from tests.unit.admin.fakes import PARENT_KEY, World
from tests.unit.admin.requests import call, exchange


@contextmanager
def answering(world: World, path: Path) -> Iterator[StatusServer]:
    """A status socket over the fakes, in a loop of its own, so that a test may block."""
    loop = asyncio.new_event_loop()
    server = StatusServer(world.backend(), path, time.monotonic)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> None:
        server.start()

    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def path(world: World, tmp_path: Path) -> Iterator[Path]:
    with answering(world, tmp_path / "status.sock"):
        yield tmp_path / "status.sock"


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def test_everybody_may_connect(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_it_tells_how_the_node_is_but_neither_its_peers_nor_where_it_is_reached(
    path: Path, socket_path: Path
) -> None:
    full, told = call(socket_path, "GET", "/v1/status").json, call(path, "GET", "/v1/status").json
    assert full["parent"] == PARENT_KEY.hex()
    assert full["listeners"]
    hidden: dict[str, Any] = {"parent": None, "listeners": [], "reduced": True}
    assert told == full | hidden | {"uptime_seconds": told["uptime_seconds"]}
    assert not full["reduced"]


def test_it_tells_the_version(path: Path) -> None:
    reply = call(path, "GET", "/v1/version")
    assert (reply.status, reply.json["version"]) == (200, "1.2.3")
    assert reply.headers["content-type"] == "application/json"
    assert reply.body.endswith(b"}\n")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/peers"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/status?x=1"),
        ("POST", "/v1/status"),
        ("POST", "/v1/peers"),
        ("DELETE", "/v1/peers"),
        ("PUT", "/v1/log-level"),
        ("POST", "/v1/reload"),
        ("GET", "/"),
    ],
)
def test_it_tells_and_does_nothing_else(path: Path, world: World, method: str, target: str) -> None:
    reply = call(path, method, target)
    assert (reply.status, reply.json["error"]["code"]) == (403, "not_permitted")
    assert world.log_levels.level == "info"


@pytest.mark.parametrize("raw", [b"\0\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"\r\n\r\n", b"x" * MAX_REQUEST])
def test_what_is_no_request_is_told_so(path: Path, raw: bytes) -> None:
    assert exchange(path, raw).status == 400


def test_who_says_nothing_is_cut_off(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_server, "CLIENT_SECONDS", 0.2)
    with answering(world, tmp_path / "s"), connect(tmp_path / "s") as silent:
        silent.sendall(b"GET /v1/status HT")
        assert silent.recv(100) == b""


def test_one_user_has_few_connections_at_a_time(path: Path) -> None:
    with ExitStack() as crowd:
        idle = [crowd.enter_context(connect(path)) for _ in range(MAX_CLIENTS_PER_USER)]
        with connect(path) as late:
            assert late.recv(1) == b""
        idle.pop().close()
        time.sleep(0.1)
        assert call(path, "GET", "/v1/version").status == 200


def test_all_users_together_have_few(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = iter(range(1000, 2000))
    monkeypatch.setattr(status_server, "_user_of", lambda _: next(users))
    with answering(world, tmp_path / "s"), ExitStack() as crowd:
        for _ in range(status_server.MAX_CLIENTS):
            crowd.enter_context(connect(tmp_path / "s"))
        with connect(tmp_path / "s") as late:
            assert late.recv(1) == b""


def test_a_crowd_of_strangers_leaves_the_admin_socket_alone(path: Path, socket_path: Path) -> None:
    with ExitStack() as crowd:
        for _ in range(60):
            crowd.enter_context(connect(path))
        began = time.monotonic()
        assert call(socket_path, "GET", "/v1/status").status == 200
        assert time.monotonic() - began < 1


def test_questions_are_taken_at_a_rate_and_cost_one_look_for_many(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_server, "ACCEPTS_PER_SECOND", 20.0)
    monkeypatch.setattr(status_server, "ACCEPTS_BURST", 5.0)
    looks: list[Now] = []
    look = world.node.status

    def counted(now: Now) -> NodeStatus:
        looks.append(now)
        return look(now)

    monkeypatch.setattr(world.node, "status", counted)
    with answering(world, tmp_path / "s"):
        began = time.monotonic()
        for _ in range(15):
            assert call(tmp_path / "s", "GET", "/v1/status").status == 200
        assert 0.45 <= time.monotonic() - began < 5
    assert len(looks) <= 1 + (time.monotonic() - began) / status_server.FRESH_SECONDS


def test_who_dribbles_a_request_is_not_heard_out(path: Path) -> None:
    with connect(path) as slow:
        for letter in b"GET /v1/version HTTP/1.1":
            slow.sendall(bytes([letter]))
            time.sleep(0.01)
            if select.select([slow], [], [], 0)[0]:
                break
        else:
            pytest.fail("every piece was waited for")
        assert slow.recv(100).startswith(b"HTTP/1.1 ")


def slow_to_close(seconds: int) -> tuple[socket.socket, socket.socket]:
    """A TCP connection whose first end takes so long to close, because the other end does not read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far = listener.accept()[0]
    near.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            near.send(bytes(65536))
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    return near, far


def test_descriptors_that_are_slow_to_close_do_not_hold_up_the_loop(world: World, tmp_path: Path) -> None:
    async def attacked() -> float:
        server = StatusServer(world.backend(), tmp_path / "s", time.monotonic)
        server.start()
        near, far = slow_to_close(3)
        with far, connect(tmp_path / "s") as stranger:
            socket.send_fds(stranger, [b"GET /v1/version HTTP/1.1\r\n\r\n"], [near.fileno()])
            near.close()
            began = time.monotonic()
            await asyncio.sleep(0.2)
            await server.close()
            return time.monotonic() - began

    assert asyncio.run(attacked()) < 2.5
    for thread in threading.enumerate():
        if thread.name == "status socket":
            thread.join(10)  # the descriptor is closed now that the other end is
    assert not (tmp_path / "s").exists()


def test_the_socket_is_gone_with_the_server(world: World, tmp_path: Path) -> None:
    with answering(world, tmp_path / "s"):
        assert (tmp_path / "s").exists()
    assert not (tmp_path / "s").exists()


def test_a_path_that_cannot_be_is_told_with_its_setting(world: World, tmp_path: Path) -> None:
    server = StatusServer(world.backend(), tmp_path / "missing" / "s", time.monotonic)
    with pytest.raises(AdminSocketError, match="cannot make the status socket") as refusal:
        server.start()
    assert "admin.status_socket" in refusal.value.remedy
