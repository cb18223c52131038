# SPDX-License-Identifier: Apache-2.0
"""Small proxies for tests: SOCKS5 and HTTP CONNECT. As a program: `python proxies.py KIND HOST PORT`."""

import asyncio
import base64
import contextlib
import socket
import sys
from collections.abc import AsyncIterator

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """A proxy; `asked` are the targets that clients named. `login` is `user:password`, None for anybody."""

    def __init__(self, kind: str, login: str | None = None) -> None:
        self.kind = kind
        self.login = login
        self.asked: list[str] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["Proxy"]:
        """Serve meanwhile."""
        server = await asyncio.start_server(self._serve, host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            ask = self._socks if self.kind == "socks5" else self._connect
            onward = await ask(reader, writer)
            if onward is not None:
                await _carry((reader, writer), onward)
        writer.close()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ends | None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.login is not None else 0
        writer.write(bytes([5, method if method in methods else 255]))
        if method not in methods:
            return None
        if self.login is not None:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = f"{user.decode()}:{password.decode()}" == self.login
            writer.write(bytes([1, not right]))
            if not right:
                return None
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await reader.readexactly(size))
        onward = await self._onward(host, int.from_bytes(await reader.readexactly(2)))
        writer.write(bytes([5, 5 if onward is None else 0, 0, 1]) + bytes(6))
        return onward

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ends | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        wanted = self.login and f"Basic {base64.b64encode(self.login.encode()).decode()}\r\n"
        if wanted and wanted not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = head.split()[1].rpartition(":")
        onward = await self._onward(host.strip("[]"), int(port))
        if onward is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return None
        # The peer speaks first: its bytes come in one piece with ours.
        with contextlib.suppress(TimeoutError):
            early = await asyncio.wait_for(onward[0].read(1000), 0.1)
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n" + early)
            return onward
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        return onward

    async def _onward(self, host: str, port: int) -> Ends | None:
        self.asked.append(f"{host}:{port}")
        try:
            return await asyncio.open_connection("127.0.0.1" if host.endswith(".test") else host, port)
        except OSError:
            return None


async def _carry(one: Ends, two: Ends) -> None:
    """Both ways until one side ends."""
    ways = [asyncio.ensure_future(_copy(one[0], two[1])), asyncio.ensure_future(_copy(two[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        two[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def _run(kind: str, host: str, port: str) -> None:
    async with Proxy(kind).running(host, int(port)):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:4]))
