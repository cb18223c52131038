# SPDX-License-Identifier: Apache-2.0
"""TCP connections through a proxy: SOCKS5 (RFC 1928, 1929) by python-socks, or the CONNECT method of HTTP.

The proxy looks up the name of the peer. CONNECT is done here, because the peer speaks first, so its first
bytes may come with the proxy's answer, of which not one byte too many may be read.
"""

import asyncio
import base64
import contextlib
import socket

from pineconed.transport.authority import host_port
from pineconed.transport.http_status import printable_status
from pineconed.transport.tcp import ConnectError, Reached, plain_reason, reach
from pineconed.transport.uri_options import ProxyUri

MAX_ANSWER = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""

_END = b"\r\n\r\n"


async def reach_through(
    proxy: ProxyUri, host: str, port: int, timeout: float, interface: str | None = None
) -> Reached:
    """Connect to the host by way of the proxy, which itself has to be reached by `interface` if given.

    Every address of the proxy may take `timeout` seconds, and then the proxy itself. ConnectError names the
    proxy and what it says.
    """
    try:
        reached = await reach(proxy.host, proxy.port, timeout, interface)
    except ConnectError as error:
        raise ConnectError(f"proxy {proxy}: {error}") from error
    ask = _ask_socks if proxy.scheme == "socks5" else _ask_http
    try:
        async with asyncio.timeout(timeout):
            await ask(reached.socket, proxy, host, port)
    except BaseException as error:
        reached.socket.close()
        if isinstance(error, OSError | ValueError):
            raise ConnectError(f"proxy {proxy}: {_plain(error)}") from error
        raise
    return Reached(reached.socket, host_port(host, port))


def _plain(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return f"host name, user or password cannot be sent to it ({error})"
    return "no answer to our request" if isinstance(error, TimeoutError) else plain_reason(error)


async def _ask_socks(connected: socket.socket, proxy: ProxyUri, host: str, port: int) -> None:
    from python_socks import ProxyError, ProxyType  # noqa: PLC0415  (only who needs it pays for it)
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

    class _Here(Proxy):
        """Stands for the way to the proxy, which we have gone already."""

        async def connect(self, *_: object, **__: object) -> socket.socket:
            return connected

    way = _Here(ProxyType.SOCKS5, proxy.host, proxy.port)
    through = Proxy(
        ProxyType.SOCKS5, proxy.host, proxy.port, proxy.user, proxy.password, rdns=True, forward=way
    )
    try:
        await through.connect(host, port)
    except ProxyError as error:
        raise ConnectError(f"it answers: {_lower_first(str(error))}") from error


async def _ask_http(connected: socket.socket, proxy: ProxyUri, host: str, port: int) -> None:
    target = host_port(host, port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    request = "\r\n".join([*lines, "", ""]).encode("ascii")
    await asyncio.get_running_loop().sock_sendall(connected, request)
    _check_status(await _answer(connected))


async def _answer(connected: socket.socket) -> bytes:
    """The answer up to the end of its headers; what follows stays in the socket."""
    loop = asyncio.get_running_loop()
    answer = bytearray()
    while not answer.endswith(_END):
        first = await loop.sock_recv(connected, 1)
        if not first:
            raise ConnectError("it closed the connection without an answer")
        answer += first
        with contextlib.suppress(BlockingIOError):
            waiting = connected.recv(MAX_ANSWER, socket.MSG_PEEK)
            end = (answer + waiting).find(_END)
            answer += connected.recv(len(waiting) if end < 0 else end + len(_END) - len(answer))
        if len(answer) > MAX_ANSWER:
            raise ConnectError("its answer has no end; it is no HTTP proxy")
    return bytes(answer)


def _check_status(answer: bytes) -> None:
    version, _, rest = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not code.isdecimal():
        raise ConnectError("it is no HTTP proxy")
    if not 200 <= int(code) < 300:
        raise ConnectError(f"it answers {printable_status(int(code))}")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
