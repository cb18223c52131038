# SPDX-License-Identifier: Apache-2.0
"""WebSocket listeners: what they answer, whom they refuse, and how long they wait."""

import asyncio
import base64
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pineconed.transport.gate import AcceptLimits
from pineconed.transport.listener import ListenError
from pineconed.transport.websocket import server as server_module
from pineconed.transport.websocket.server import WebSocketService
from tests.unit.transport.intake import read
from tests.unit.transport.websocket.front import Files, Front, certificates, with_front
from tests.unit.waiting import until

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
UPGRADE = {
    "Host": "node.example:7000",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


class Guest:
    """A plain socket to the listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, seconds: float = 5) -> str:
        """All that comes until the listener closes."""
        async with asyncio.timeout(seconds):
            try:
                return (await self.reader.read()).decode("latin-1")
            except ConnectionResetError:
                return ""

    async def head(self) -> str:
        """The answer up to the end of its headers."""
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")

    def close(self) -> None:
        self.writer.close()


async def guest(front: Front, sent: bytes = b"") -> Guest:
    one = Guest(*await asyncio.open_connection("127.0.0.1", front.port))
    one.writer.write(sent)
    return one


def request(method: str = "GET", path: str = "/", headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{name}: {value}" for name, value in (headers or {"Host": "node.example"}).items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


async def ask(front: Front, sent: bytes) -> str:
    one = await guest(front, sent)
    answer = await one.answer()
    one.close()
    return answer


@LOOPS
def test_a_browser_gets_a_page_and_a_balancer_an_ok(loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        page = await ask(front, request())
        assert page.startswith("HTTP/1.1 200 OK\r\n")
        assert "Pinecone" in page
        assert "text/html" in page
        health = await ask(front, request(path="/healthz"))
        assert health.startswith("HTTP/1.1 200 OK\r\n")
        assert health.endswith("\r\n\r\nok\n")
        head = await ask(front, request("HEAD", "/healthz"))
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert head.endswith("\r\n\r\n")
        await until(lambda: front.gate.half_open == 0)
        assert front.intake.failures == []

    with_front(check, loop=loop)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("POST"), "405"),
        (request("OPTIONS"), "405"),
        (request(headers={"Host": "a", "Content-Length": "5"}) + b"hello", "400"),
        (request(headers={"Host": "a", "Transfer-Encoding": "chunked"}), "400"),
        (request(headers=UPGRADE | {"Upgrade": "h2c"}), "200"),
        (request(headers=UPGRADE | {"Connection": "close"}), "400"),
        (request(headers=UPGRADE | {"Sec-WebSocket-Version": "1"}), "400"),
        (request(headers=UPGRADE | {"Sec-WebSocket-Key": "short"}), "400"),
        (request(headers=UPGRADE | {"Sec-WebSocket-Key": "\xe9" * 24}), "400"),
        (request("POST", headers=UPGRADE), "405"),
        (request("HEAD", headers=UPGRADE), "200"),
        (request(path="/" + "x" * 5000), "400"),
        (request(headers={"Host": "a", "X": "y" * 5000}), "400"),
        (request(headers={f"X-{number}": "y" for number in range(500)}), "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"\x01\0\0\0\0\0\0\x3b" + bytes(96), "400"),
    ],
)
def test_other_requests_are_answered_and_ended(
    sent: bytes, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(front: Front) -> None:
        answer = await ask(front, sent)
        assert answer.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} ")), answer
        await until(lambda: front.gate.half_open == 0)
        assert front.intake.streams == []
        assert len(front.intake.failures) <= 1

    with_front(check)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "it speaks TLS, which this listener does not have"),
        (b"\x01\0\0\0\0\0\0\x3b" + bytes(96), "it speaks Pinecone without WebSocket"),
        (b"hello\r\n\r\n", "what it sent is no HTTP"),
        (request(headers=UPGRADE | {"Origin": "https://evil.example"}), "a web page of another site"),
    ],
)
def test_the_log_says_who_was_in_the_wrong_place(sent: bytes, words: str) -> None:
    async def check(front: Front) -> None:
        await ask(front, sent)
        assert words in await front.failed()

    with_front(check)


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        ("http://node.example:7000", "", "101"),
        ("https://NODE.example:7000", "", "101"),
        ("http://node.example", "", "403"),
        ("null", "", "403"),
        ("https://evil.example", "", "403"),
        ("https://good.example", "?origin=https://good.example&origin=https://too.example", "101"),
        ("https://evil.example", "?origin=https://good.example", "403"),
        ("https://evil.example", "?origin=*", "101"),
        ("//[", "", "403"),
    ],
)
def test_web_pages_of_other_sites_are_refused(origin: str, allowed: str, status: str) -> None:
    async def check(front: Front) -> None:
        one = await guest(front, request(headers=UPGRADE | {"Origin": origin}))
        assert (await one.head()).startswith(f"HTTP/1.1 {status} ")
        one.close()

    with_front(check, f"ws://127.0.0.1:0{allowed}")


@LOOPS
def test_bytes_sent_right_behind_the_request_arrive(loop: Callable[[], Any]) -> None:
    """On any path, with a subprotocol and a compression that we do not know."""

    async def check(front: Front) -> None:
        headers = UPGRADE | {
            "Sec-WebSocket-Protocol": "chat",
            "Sec-WebSocket-Extensions": "permessage-deflate",
            "X-Forwarded-For": "192.0.2.1",
        }
        one = await guest(front, request(path="/any/path?x=1", headers=headers) + frame(b"hello"))
        head = await one.head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "Extensions" not in head
        assert "Sec-WebSocket-Protocol" not in head
        await until(lambda: front.intake.streams)
        (stream,) = front.intake.streams
        assert await read(stream, 5) == b"hello"
        assert stream.remote.startswith("127.0.0.1:")
        assert stream.kind == "ws"
        assert stream.rtt() is not None
        stream.send([b"back"])
        assert await one.reader.readexactly(6) == b"\x82\x04back"
        assert front.gate.half_open == 1
        one.close()
        assert await read(stream, 1) == b""

    with_front(check, loop=loop)


def frame(data: bytes) -> bytes:
    """A masked binary message."""
    return b"\x82" + bytes([0x80 | len(data)]) + bytes(4) + data


def test_the_log_of_aiohttp_stays_empty(caplog: pytest.LogCaptureFixture) -> None:
    async def check(front: Front) -> None:
        one = await guest(front, request(headers=UPGRADE | {"Sec-WebSocket-Protocol": "chat, more"}))
        await one.head()
        one.writer.write(b"\xff\xff garbage")
        one.close()
        await until(lambda: front.intake.streams)

    with_front(check)
    assert caplog.records == []


@LOOPS
@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nContent-Length: 5\r\n"])
def test_who_dawdles_is_ended(begin: bytes, loop: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)

    async def check(front: Front) -> None:
        started = time.monotonic()
        one = await guest(front, begin)
        for _ in range(8):
            one.writer.write(b"X: y\r\n" if begin else b"")
            await asyncio.sleep(0.02)
        assert await one.answer() == ""
        assert time.monotonic() - started < 1
        assert "no WebSocket request within" in await front.failed()
        assert front.gate.half_open == 0
        one.close()

    with_front(check, loop=loop)


def test_a_crowd_that_says_nothing_gives_way() -> None:
    """Many sources that keep their connections open do not keep others out for long."""

    async def check(front: Front) -> None:
        crowd = [await guest(front) for _ in range(8)]
        await until(lambda: front.gate.half_open == 8)
        await asyncio.sleep(2.1)  # they have dawdled
        one = await guest(front, request(headers=UPGRADE))
        assert (await one.head()).startswith("HTTP/1.1 101 ")
        assert "gave way" in await front.failed()
        for each in [*crowd, one]:
            each.close()

    with_front(check, limits=AcceptLimits(half_open=8))


@LOOPS
@pytest.mark.parametrize("way", ["gives way", "listener closes"])
def test_who_goes_before_the_first_step_leaves_nothing(loop: Callable[[], Any], way: str) -> None:
    async def check(front: Front) -> None:
        near, far = socket.socketpair()
        far.setblocking(False)
        visit = front.gate.admit("192.0.2.1")
        assert visit is not None
        front.service.serve(far, "192.0.2.1:1", visit)
        if way == "gives way":
            visit.give_way()
            assert "gave way" in await front.failed()
        else:
            await front.service.close()
        await until(lambda: far.fileno() == -1)
        assert (front.gate.half_open, visit.over) == (0, True)
        near.close()

    with_front(check, loop=loop)


@LOOPS
def test_closing_ends_early_connections_and_leaves_streams(loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        early = await guest(front, b"GET /")
        one = await guest(front, request(headers=UPGRADE))
        await one.head()
        await until(lambda: front.gate.half_open == 2)
        await front.service.close()
        assert await early.answer() == ""
        front.intake.streams[0].send([b"alive"])
        assert await one.reader.readexactly(7) == b"\x82\x05alive"
        assert front.intake.failures == []
        early.close()
        one.close()

    with_front(check, loop=loop)


def test_a_fault_of_ours_leaves_no_visit_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_step(*_: object) -> None:
        raise RuntimeError("a mistake")

    async def check(front: Front) -> None:
        monkeypatch.setattr(WebSocketService, "_attend", no_step)
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        one = await guest(front)
        await until(lambda: faults)
        assert str(faults[0]["exception"]) == "a mistake"
        assert (front.gate.half_open, front.gate._sources["127.0.0.1"].links) == (0, 0)
        one.close()

    with_front(check)


# ---------------------------------------------------------------- wss


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


@LOOPS
def test_wss_serves_the_page_by_tls(files: Files, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        context = ssl.create_default_context(cafile=files.ca)
        reader, writer = await asyncio.open_connection("localhost", front.port, ssl=context)
        writer.write(request(path="/healthz"))
        assert (await reader.read()).endswith(b"ok\n")
        writer.close()

    with_front(check, files.listen(), loop=loop)


def test_the_client_cannot_choose_how_keys_are_agreed_on(files: Files) -> None:
    async def check(front: Front) -> None:
        context = ssl.create_default_context(cafile=files.ca)
        context.set_ecdh_curve("secp521r1")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("localhost", front.port, ssl=context)
        assert "TLS failed" in await front.failed()

    with_front(check, files.listen())


@LOOPS
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (request(), "what it sent is no TLS"),
        (b"\x01\0\0\0\0\0\0\x3b" + bytes(96), "what it sent is no TLS"),
        (b"\x16\x03\x01\x00\x05hello", "TLS failed"),
    ],
)
def test_wss_logs_what_is_no_tls(sent: bytes, words: str, files: Files, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        await ask(front, sent)
        assert words in await front.failed()
        assert front.gate.half_open == 0

    with_front(check, files.listen(), loop=loop)


@LOOPS
def test_who_dawdles_in_tls_is_ended(
    files: Files, loop: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)

    async def check(front: Front) -> None:
        one = await guest(front, b"\x16\x03\x01")
        assert await one.answer() == ""
        assert "no WebSocket request within" in await front.failed()
        one.close()

    with_front(check, files.listen(), loop=loop)


def _shown_certificate(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_shown_after_a_reload(tmp_path: Path) -> None:
    files = certificates(tmp_path, "localhost")

    async def check(front: Front) -> None:
        first = await asyncio.to_thread(_shown_certificate, front.port)
        certificates(tmp_path, "localhost")
        assert await asyncio.to_thread(_shown_certificate, front.port) == first
        front.service.reload()
        second = await asyncio.to_thread(_shown_certificate, front.port)
        assert second != first
        files.cert.write_text("broken")
        with pytest.raises(ListenError):
            front.service.reload()
        assert await asyncio.to_thread(_shown_certificate, front.port) == second

    with_front(check, files.listen())


def test_tls_files_that_are_no_good_are_named(tmp_path: Path) -> None:
    good, other = certificates(tmp_path / "a", "localhost"), certificates(tmp_path / "b", "localhost")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for query, words in (
        ("?cert=/no/cert.pem", "cannot read /no/cert.pem: No such file or directory; cert= and"),
        (f"?cert={good.cert}&certkey=/no/key.pem", "cannot read /no/key.pem: No such file"),
        (f"?cert={good.cert}&certkey={other.key}", "is not that of the certificate"),
        (f"?cert={good.cert}", "name the key by certkey="),
        (f"?cert={nothing}&certkey={good.key}", "no certificate"),
        (f"?cert={good.cert}&certkey={nothing}", "no key in PEM form"),
        (f"?cert={good.cert}&certkey={tmp_path}", "cannot read"),
    ):
        with pytest.raises(ListenError, match=words):
            with_front(_unreachable, f"wss://127.0.0.1:0{query}")


def test_a_key_with_a_password_is_named(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    files = certificates(tmp_path, "localhost")
    key = load_pem_private_key(files.key.read_bytes(), None)
    secret = BestAvailableEncryption(secrets.token_bytes(8).hex().encode())
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(ListenError, match="has a password"):
        with_front(_unreachable, files.listen())


async def _unreachable(_: Front) -> None:
    raise AssertionError
