# SPDX-License-Identifier: Apache-2.0
"""Dialling through SOCKS5 and HTTP proxies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
import uvloop

from pineconed.signing import Ed25519Signer
from pineconed.transport.connect import Connector
from pineconed.transport.tcp import ConnectError
from pineconed.transport.uri import parse_peer_uri
from pineconed.transport.websocket.running import RunningPumps
from tests.unit.transport.intake import read
from tests.unit.transport.proxies import Proxy
from tests.unit.transport.websocket.front import with_front

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
KINDS = pytest.mark.parametrize("kind", ["socks5", "http"])


def through(uri: str, proxy: str) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}proxy={quote(proxy, safe='/:@')}"


async def dial(uri: str, timeout: float = 3) -> Any:
    return await Connector(Ed25519Signer(bytes(32)), RunningPumps()).connect(parse_peer_uri(uri), timeout)


async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, as a Pinecone node does, then echo."""
    writer.write(b"G" * 104)
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


def run(check: Callable[[int], Awaitable[None]], loop: Callable[[], Any] = uvloop.new_event_loop) -> None:
    async def live() -> None:
        server = await asyncio.start_server(greeter, "127.0.0.1", 0)
        await check(server.sockets[0].getsockname()[1])
        server.close()
        await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(live())


@LOOPS
@KINDS
@pytest.mark.parametrize("host", ["127.0.0.1", "hidden.test"])
def test_tcp_through_a_proxy_that_looks_up_the_name(kind: str, host: str, loop: Callable[[], Any]) -> None:
    async def check(port: int) -> None:
        async with Proxy(kind).running() as proxy:
            stream = await dial(through(f"tcp://{host}:{port}", f"{kind}://127.0.0.1:{proxy.port}"))
            assert stream.remote == f"{host}:{port}"
            assert await read(stream, 104) == b"G" * 104
            stream.send([b"hello"])
            assert await read(stream, 5) == b"hello"
            assert proxy.asked == [f"{host}:{port}"]
            stream.close()

    run(check, loop)


@LOOPS
@KINDS
def test_the_first_bytes_of_the_peer_are_not_lost_in_the_proxys_answer(
    kind: str, loop: Callable[[], Any]
) -> None:
    async def check(port: int) -> None:
        async with Proxy(kind).running() as proxy:
            for _ in range(5):
                stream = await dial(through(f"tcp://127.0.0.1:{port}", f"{kind}://127.0.0.1:{proxy.port}"))
                assert await read(stream, 104) == b"G" * 104
                stream.close()

    run(check, loop)


@KINDS
@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("user:secret@", None),
        ("", "407|authentication"),
        ("user:wrong@", "407|authentication"),
        ("user@", "407|authentication"),
    ],
)
def test_a_proxy_with_a_password(kind: str, login: str, words: str | None) -> None:
    async def check(port: int) -> None:
        async with Proxy(kind, "user:secret").running() as proxy:
            uri = through(f"tcp://127.0.0.1:{port}", f"{kind}://{login}127.0.0.1:{proxy.port}")
            if words is None:
                (await dial(uri)).close()
                return
            with pytest.raises(ConnectError, match=words) as caught:
                await dial(uri)
            assert f"proxy {kind}://" in str(caught.value)
            assert "wrong" not in str(caught.value)

    run(check)


@LOOPS
@KINDS
def test_the_proxy_says_that_the_peer_is_out_of_reach(kind: str, loop: Callable[[], Any]) -> None:
    async def check(_: int) -> None:
        async with Proxy(kind).running() as proxy:
            with pytest.raises(ConnectError, match=rf"proxy {kind}://127.0.0.1:{proxy.port}: it answers"):
                await dial(through("tcp://127.0.0.1:1", f"{kind}://127.0.0.1:{proxy.port}"))

    run(check, loop)


@KINDS
def test_no_proxy_there(kind: str) -> None:
    async def check(port: int) -> None:
        with pytest.raises(ConnectError, match=f"proxy {kind}://127.0.0.1:1: .*connection refused"):
            await dial(through(f"tcp://127.0.0.1:{port}", f"{kind}://127.0.0.1:1"))
        with pytest.raises(ConnectError, match=f"proxy {kind}://no-such.invalid:1: cannot find"):
            await dial(through(f"tcp://127.0.0.1:{port}", f"{kind}://no-such.invalid:1"))

    run(check)


@LOOPS
@KINDS
@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"", "closed"),
        (b"SSH-2.0-x\r\n\r\n\r\n", "SOCKS version|no HTTP proxy"),
        (b"x" * 40_000, "SOCKS version|no HTTP proxy"),
        (None, "no answer to our request"),
    ],
)
def test_what_is_no_proxy(kind: str, says: bytes | None, words: str, loop: Callable[[], Any]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        if says is None:
            await reader.read()
        writer.write(says or b"")
        writer.close()

    async def check(port: int) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        proxy = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectError, match=words) as caught:
            await dial(through(f"tcp://127.0.0.1:{port}", f"{kind}://127.0.0.1:{proxy}"), 0.3)
        assert f"proxy {kind}://127.0.0.1:{proxy}: " in str(caught.value)
        server.close()

    run(check, loop)


def test_credentials_that_socks_cannot_carry() -> None:
    async def check(port: int) -> None:
        async with Proxy("socks5", "user:secret").running() as proxy:
            for login in ("ü:secret", f"{'u' * 300}:secret"):
                with pytest.raises(ConnectError, match="cannot be sent to it"):
                    await dial(through(f"tcp://127.0.0.1:{port}", f"socks5://{login}@127.0.0.1:{proxy.port}"))

    run(check)


@KINDS
def test_ws_through_a_proxy(kind: str) -> None:
    async def check(front: Any) -> None:
        async with Proxy(kind).running() as proxy:
            uri = through(f"ws://hidden.test:{front.port}/path", f"{kind}://127.0.0.1:{proxy.port}")
            near = await front.dial(uri)
            near.send([b"hello"])
            assert await read(front.intake.streams[0], 5) == b"hello"
            assert proxy.asked == [f"hidden.test:{front.port}"]
            near.close()
            assert await read(front.intake.streams[0], 1) == b""

    with_front(check)
