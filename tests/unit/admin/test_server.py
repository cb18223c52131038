# SPDX-License-Identifier: Apache-2.0
"""The server on a real Unix socket: HTTP, strictness, errors, and its end."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from pineconed.admin import server as server_module
from pineconed.admin.decoding import MAX_BODY_BYTES
from pineconed.admin.errors import AdminSocketError
from pineconed.admin.server import AdminServer
from tests.unit.admin.fakes import PARENT_KEY, World, served
from tests.unit.admin.requests import Reply, call, exchange

STABLE_STATUS_NAMES = {
    *("version", "public_key", "address", "coords"),
    *("root", "parent", "peers", "uptime_seconds"),
}
STABLE_PEER_NAMES = {
    *("port", "public_key", "address", "uri", "direction", "type"),
    *("zone", "state", "rx_bytes", "tx_bytes", "last_error"),
}


def error_of(reply: Reply) -> tuple[int, str]:
    """The status and the code of an error, once its shape is right."""
    assert set(reply.json) == {"error"}
    assert set(reply.json["error"]) == {"code", "message", "remedy"}
    assert all(reply.json["error"].values())
    return reply.status, reply.json["error"]["code"]


def test_curl(socket_path: Path) -> None:
    assert shutil.which("curl"), "curl is needed for this test"
    run = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(socket_path), "http://localhost/v1/status"],
        capture_output=True,
        check=True,
    )
    assert json.loads(run.stdout)["version"] == "1.2.3"
    assert run.stdout.endswith(b"\n")


def test_curl_adds_a_peer_without_caring_for_the_content_type(socket_path: Path, world: World) -> None:
    command = ["curl", "-sS", "--unix-socket", str(socket_path), "http://localhost/v1/peers"]
    subprocess.run([*command, "-d", '{"uri": "tcp://192.0.2.50:1"}'], check=True, capture_output=True)
    assert world.dialer.rows[-1].uri == "tcp://192.0.2.50:1"


def test_answers_are_json_and_say_who_they_are_from(socket_path: Path) -> None:
    reply = call(socket_path, "GET", "/v1/version")
    assert reply.headers["content-type"].split(";")[0] == "application/json"
    assert reply.headers["server"] == "pineconed"
    assert reply.json == {"version": "1.2.3", "api_version": 1, "protocol_version": 1}


def test_peers_is_a_list_with_the_stable_names(socket_path: Path) -> None:
    rows = call(socket_path, "GET", "/v1/peers").json
    assert isinstance(rows, list)
    assert all(set(row) >= STABLE_PEER_NAMES for row in rows)


def test_status_has_the_stable_names(socket_path: Path) -> None:
    status = call(socket_path, "GET", "/v1/status").json
    assert set(status) >= STABLE_STATUS_NAMES
    assert set(status["root"]) == {"public_key", "sequence"}
    assert status["parent"] == PARENT_KEY.hex()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/v1/status?verbose=1", "unknown field 'verbose'"),
        ("/v1/openapi.json?x=1", "unknown field 'x'"),
        ("/v1/snake?limit=5&limit=6", "given twice"),
        ("/v1/snake?limit=0", "limit: expected 'int' >= 1"),
        ("/v1/snake?limit=1001", "limit: expected 'int' <= 1000"),
        ("/v1/snake?limit=many", "limit: expected 'int'"),
        ("/v1/snake?limit=", "limit: expected 'int'"),
        ("/v1/snake?cursor=ABCD", "cursor: expected"),
        ("/v1/peers?state=sleeping", "state: invalid enum value 'sleeping'"),
        ("/v1/peers?port=0", "port: expected"),
        ("/v1/peers?port=null", "port: "),
        ("/v1/routes", "missing required field 'to'"),
        ("/v1/routes?to=2001:db8::1", "begin with fd"),
        ("/v1/routes?to=" + "f" * 101, "to: expected"),
        ("/v1/address?of=abcd", "has 4"),
        ("/v1/peers?node=zz", "neither hexadecimal"),
    ],
)
def test_wrong_parameters_are_refused_with_the_name(socket_path: Path, target: str, says: str) -> None:
    reply = call(socket_path, "GET", target)
    assert error_of(reply) == (400, "bad_request")
    assert says in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"uri": "\xff"}', "not JSON"),
        (b"[]", "expected 'object'"),
        (b"{}", "missing required field 'uri'"),
        (b'{"uri": 5}', "uri: expected 'str'"),
        (b'{"uri": ""}', "uri: expected"),
        (b'{"uri": "tcp://a:1", "weight": 3}', "unknown field 'weight'"),
        (b'{"uri": "gopher://a:1"}', "unknown scheme"),
    ],
)
def test_wrong_bodies_are_refused(socket_path: Path, world: World, body: bytes, says: str) -> None:
    reply = call(socket_path, "POST", "/v1/peers", body)
    assert error_of(reply) == (400, "bad_request")
    assert says in reply.json["error"]["message"]
    assert len(world.dialer.rows) == 3


def test_a_body_over_the_limit_is_refused(socket_path: Path) -> None:
    largest = b'{"uri": "' + b"x" * (MAX_BODY_BYTES - 11) + b'"}'
    assert error_of(call(socket_path, "POST", "/v1/peers", largest)) == (400, "bad_request")
    assert error_of(call(socket_path, "POST", "/v1/peers", largest + b" ")) == (413, "too_large")


def test_an_endless_body_is_cut_off(socket_path: Path) -> None:
    head = b"POST /v1/peers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    reply = exchange(socket_path, head + chunk * 5 + b"0\r\n\r\n")
    assert error_of(reply) == (413, "too_large")


def test_calls_without_a_body_refuse_one(socket_path: Path) -> None:
    assert error_of(call(socket_path, "GET", "/v1/status", b"{}")) == (400, "bad_request")
    assert error_of(call(socket_path, "DELETE", "/v1/peers?port=1", b"{}")) == (400, "bad_request")
    assert error_of(call(socket_path, "POST", "/v1/peers?x=1", b'{"uri": "tcp://a:1"}')) == (
        400,
        "bad_request",
    )


@pytest.mark.parametrize("target", ["/", "/v1", "/v1/", "/v2/status", "/v1/status/", "/v1/%00"])
def test_other_paths_are_not_found(socket_path: Path, target: str) -> None:
    assert error_of(call(socket_path, "GET", target)) == (404, "not_found")


def test_other_methods_are_named(socket_path: Path) -> None:
    reply = call(socket_path, "POST", "/v1/status", b"{}")
    assert error_of(reply) == (405, "method_not_allowed")
    assert "GET" in reply.headers["allow"]
    assert "GET" in reply.json["error"]["remedy"]


def test_a_mistake_of_the_daemon_is_an_error_of_its_own(socket_path: Path, world: World) -> None:
    world.node.broken = True
    assert error_of(call(socket_path, "GET", "/v1/status")) == (500, "internal")
    world.node.broken = False
    assert call(socket_path, "GET", "/v1/status").status == 200


def test_garbage_ends_the_connection_and_nothing_else(socket_path: Path) -> None:
    assert exchange(socket_path, b"\x00pine\x00\r\n\r\n").status == 400
    assert call(socket_path, "GET", "/v1/status").status == 200


def test_answers_are_bounded(socket_path: Path, world: World) -> None:
    world.node.entries *= 100
    page = call(socket_path, "GET", "/v1/snake?limit=1000").json
    assert len(page["entries"]) == 1000
    assert len(call(socket_path, "GET", "/v1/snake").json["entries"]) == 100


# ---------------------------------------------------------------- begin and end


def test_rates_are_sampled_while_the_server_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SAMPLE_INTERVAL", 0.01)
    with served(world, tmp_path / "admin.sock") as path:
        world.seconds += 1
        time.sleep(0.1)
        world.seconds += 1
        assert call(path, "GET", "/v1/peers?port=1").json[0]["rx_bytes_per_second"] == 0


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_close_ends_idle_connections_at_once_and_removes_the_socket(
    world: World, tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    path = tmp_path / "admin.sock"

    async def scenario() -> float:
        server = AdminServer(world.backend(), path)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"}\n")
        began = time.monotonic()
        await server.close()
        took = time.monotonic() - began
        assert await reader.read() == b""
        writer.close()
        await server.close()
        return took

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(scenario()) < 1.0
    assert not path.exists()


def test_a_second_server_on_the_path_is_refused_and_the_first_lives_on(
    socket_path: Path, world: World
) -> None:
    async def second() -> None:
        server = AdminServer(world.backend(), socket_path)
        with pytest.raises(AdminSocketError, match="in use") as refusal:
            await server.start()
        assert "--admin-socket" in refusal.value.remedy
        await server.close()

    asyncio.run(second())
    assert call(socket_path, "GET", "/v1/version").status == 200


def test_close_leaves_a_socket_that_somebody_else_has_put_there(world: World, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with served(world, path), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
    assert path.exists()
