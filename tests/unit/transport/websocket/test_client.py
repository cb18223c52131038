# SPDX-License-Identifier: Apache-2.0
"""Dialling WebSockets: to our own listener, with TLS, and to whatever else may answer."""

import asyncio
import errno
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import uvloop

from pineconed.signing import Ed25519Signer
from pineconed.transport.gate import AcceptLimits
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import ConnectError
from pineconed.wire.first_bytes import TLS_ALERT, Protocol, protocol_of
from pineconed.wire.handshake import encode_handshake
from tests.unit.transport.intake import read
from tests.unit.transport.websocket.front import Files, Front, certificates, with_front
from tests.unit.waiting import until

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1", "node.example")


async def assert_carries(front: Front, uri: str) -> None:
    """Bytes come through both ways, and the end of one side is that of the other."""
    near = await front.dial(uri)
    await until(lambda: front.intake.streams)
    far = front.intake.streams[-1]
    for one, other in ((near, far), (far, near)):
        one.send([b"hello", bytes(1000)])
        assert await read(other, 1005) == b"hello" + bytes(1000)
        assert one.has_room()
    assert near.rtt() is not None
    near.close()
    assert await read(far, 1) == b""
    far.close()


@LOOPS
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_much_goes_both_ways_at_once(scheme: str, files: Files, loop: Callable[[], Any]) -> None:
    data = secrets.token_bytes(500_000)

    async def write(stream: Stream) -> None:
        view = memoryview(data)
        while view:
            with suppress(BlockingIOError):
                view = view[stream.send([view[:16_384]]) :] if stream.has_room() else view
            await asyncio.sleep(0)

    async def check(front: Front) -> None:
        query = f"?ca={files.ca}" if scheme == "wss" else ""
        near = await front.dial(f"{scheme}://localhost:{front.port}/{query}")
        await until(lambda: front.intake.streams)
        far = front.intake.streams[0]
        for _ in range(3):
            got = await asyncio.gather(read(near, len(data)), read(far, len(data)), write(near), write(far))
            assert got[0] == got[1] == data
            for one, other in ((near, far), (far, near)):
                one.send([b"ping"])
                assert await read(other, 4) == b"ping"
        near.close()

    with_front(check, files.listen() if scheme == "wss" else "ws://127.0.0.1:0", loop=loop)


@LOOPS
@pytest.mark.parametrize("path", ["", "/", "/a/path?x=%20y"])
def test_ws_to_our_own_listener(path: str, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        await assert_carries(front, f"ws://127.0.0.1:{front.port}{path.partition('?')[0]}")

    with_front(check, loop=loop)


@LOOPS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_wss_with_an_authority_of_our_own(files: Files, host: str, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        await assert_carries(front, f"wss://{host}:{front.port}/?ca={files.ca}")

    with_front(check, files.listen(), loop=loop)


def test_wss_under_another_name(files: Files) -> None:
    async def check(front: Front) -> None:
        await assert_carries(front, f"wss://127.0.0.1:{front.port}/?ca={files.ca}&sni=node.example")

    with_front(check, files.listen())


@LOOPS
@pytest.mark.parametrize("kind", ["unknown", "self-signed", "expired", "early", "host", "address", "sni"])
def test_a_wrong_certificate_is_refused(tmp_path: Path, kind: str, loop: Callable[[], Any]) -> None:
    now = datetime.now(UTC)
    names = ("node.example",) if kind in {"host", "address"} else ("localhost", "127.0.0.1")
    dates = {
        "expired": (now - timedelta(days=9), now - timedelta(days=2)),
        "early": (now + timedelta(days=2), now + timedelta(days=9)),
    }.get(kind, (None, None))
    files = certificates(tmp_path, *names, not_before=dates[0], not_after=dates[1])
    if kind == "self-signed":
        self_sign(files)
    ca = "" if kind in {"unknown", "self-signed"} else f"&ca={files.ca}"
    words = {
        "unknown": "no authority that this machine trusts",
        "self-signed": "self-signed",
        "expired": "it has expired",
        "early": "it is not valid yet",
        "host": "the certificate of localhost is refused: it is for another host",
        "address": "the certificate of 127.0.0.1 is refused: it is for another host",
        "sni": "the certificate of other.example is refused: it is for another host",
    }[kind]
    host = "127.0.0.1" if kind == "address" else "localhost"
    sni = "&sni=other.example" if kind == "sni" else ""

    async def check(front: Front) -> None:
        with pytest.raises(ConnectError, match=words) as caught:
            await front.dial(f"wss://{host}:{front.port}/?maxbackoff=60s{ca}{sni}")
        print(caught.value)
        assert "perhaps it does not trust our certificate" in await front.failed()

    with_front(check, files.listen(), loop=loop)


def self_sign(files: Files) -> None:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    files.cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot read ca="), ("nothing", "holds no certificate")]
)
def test_an_authority_file_that_is_no_good_is_named(
    files: Files, tmp_path: Path, content: str | None, words: str
) -> None:
    ca = tmp_path / "ca.pem"
    if content:
        ca.write_text(content)

    async def check(front: Front) -> None:
        with pytest.raises(ConnectError, match=words):
            await front.dial(f"wss://localhost:{front.port}/?ca={ca}")

    with_front(check, files.listen())


def test_wss_to_a_listener_without_tls() -> None:
    async def check(front: Front) -> None:
        with pytest.raises(ConnectError, match="no TLS there"):
            await front.dial(f"wss://localhost:{front.port}/")
        assert "it speaks TLS" in await front.failed()

    with_front(check)


@LOOPS
def test_plain_clients_of_a_listener_with_tls(files: Files, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        with pytest.raises(ConnectError, match="the server speaks TLS; the URI has to begin with wss://"):
            await front.dial(f"ws://localhost:{front.port}/")
        assert "no TLS" in await front.failed()
        plain = await front.dial(f"tcp://localhost:{front.port}")
        plain.send([encode_handshake(Ed25519Signer(bytes(32)))])
        assert protocol_of(await read(plain, 8)) is Protocol.TLS, "by which its own log tells what is wrong"
        assert "no TLS" in await front.failed()
        plain.close()

    with_front(check, files.listen(), loop=loop)


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def somebody(answer: Answer) -> Any:
    """A TCP server that does as the test says; gives its port."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        seen.append(b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await until(lambda: seen)
    finally:
        server.close()


def says(text: bytes, *, first: bool = False) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        await asyncio.sleep(0.05)

    return answer


@LOOPS
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            r"the server answers 404 \(Not Found\)",
        ),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), r"the server answers 200 \(OK\)"),
        (says(b"HTTP/1.1 799 What\r\n\r\n"), "the server answers 799"),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: ws://other.example/\r\nContent-Length: 0\r\n\r\n"),
            "redirects to",
        ),
        (
            says(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            "redirects to",
        ),
        (says(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"), "RFC 6455"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n", first=True), "no WebSocket server"),
        (
            says(b"\x01\0\0\0\0\0\0\x3b" + bytes(96), first=True),
            "it speaks Pinecone without; the URI has to begin with tcp://",
        ),
        (says(TLS_ALERT), "the server speaks TLS; the URI has to begin with wss://"),
        (says(b""), "without an answer; perhaps its listener is of another scheme"),
        (says(b"HTTP/1.1 101 " + b"x" * 20_000), "no WebSocket server"),
    ],
    ids=["404", "200", "799", "302", "301", "bare101", "ssh", "pinecone", "tls", "nothing", "long"],
)
def test_who_is_no_websocket_server_is_told_plainly(
    answer: Answer, words: str, loop: Callable[[], Any]
) -> None:
    async def check(front: Front) -> None:
        async with somebody(answer) as port:
            with pytest.raises(ConnectError, match=words) as caught:
                await front.dial(f"ws://127.0.0.1:{port}/")
            print(caught.value)

    with_front(check, loop=loop)


@LOOPS
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_who_never_answers_is_left_in_time(scheme: str, loop: Callable[[], Any]) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def check(front: Front) -> None:
        async with somebody(silent) as port:
            started = time.monotonic()
            with pytest.raises(ConnectError, match="no answer to our request"):
                await front.dial(f"{scheme}://127.0.0.1:{port}/", timeout=0.2)
            assert time.monotonic() - started < 1

    with_front(check, loop=loop)


@LOOPS
def test_dialling_that_is_cancelled_leaves_nothing(loop: Callable[[], Any]) -> None:
    async def waits(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def check(front: Front) -> None:
        async with somebody(waits) as port:
            dialling = asyncio.create_task(front.dial(f"ws://127.0.0.1:{port}/"))
            await asyncio.sleep(0.1)
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling

    with_front(check, loop=loop)


def test_without_descriptors_for_a_websocket_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    own = socket.socketpair

    def none_left_for_the_dialler() -> tuple[socket.socket, socket.socket]:
        monkeypatch.setattr(socket, "socketpair", own)
        raise OSError(errno.EMFILE, "Too many open files")

    async def check(front: Front) -> None:
        monkeypatch.setattr(front.service, "_run", AsyncMock())
        monkeypatch.setattr(socket, "socketpair", none_left_for_the_dialler)
        with pytest.raises(ConnectError, match="too many open files"):
            await front.dial(f"ws://127.0.0.1:{front.port}/")
        await until(lambda: front.gate.half_open == 0)

    with_front(check)


def test_host_and_path_are_kept() -> None:
    heads: list[str] = []

    async def notes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())

    async def check(front: Front) -> None:
        async with somebody(notes) as port:
            with pytest.raises(ConnectError):
                await front.dial(f"ws://localhost:{port}/a/b%20c")
            assert heads[0].startswith("GET /a/b%20c HTTP/1.1\r\n")
            assert f"Host: localhost:{port}\r\n" in heads[0]
            assert "Extensions" not in heads[0]
            assert "Origin" not in heads[0]
            assert "User-Agent: pineconed\r\n" in heads[0]

    with_front(check)


@LOOPS
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_peerings_that_come_and_go_leave_nothing(scheme: str, files: Files, loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        query = f"?ca={files.ca}" if scheme == "wss" else ""
        counts = []
        for _ in range(3):
            for _ in range(20):
                near = await front.dial(f"{scheme}://localhost:{front.port}/{query}")
                near.send([b"hello"])
                near.close()
            await until(lambda: len(asyncio.all_tasks()) == 1)
            for far in front.intake.streams:
                far.close()
            front.intake.streams.clear()
            counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        assert counts[1] == counts[2]

    limits = AcceptLimits(1000, 1000, 1000, accepts_burst=1000)
    with_front(check, files.listen() if scheme == "wss" else "ws://127.0.0.1:0", limits, loop)
