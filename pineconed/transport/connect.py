# SPDX-License-Identifier: Apache-2.0
"""From the URI of a peer to a stream: one way for each scheme.

First a connected socket, directly or through a proxy, then what the scheme puts around it. What needs a
large library is imported when the first peer asks for it.
"""

from collections.abc import Awaitable, Callable
from functools import cached_property
from ipaddress import IPv6Address

from pineconed.overlay.address import address_of
from pineconed.signing import Signer
from pineconed.transport.stream import SocketStream, Stream
from pineconed.transport.tcp import Reached, reach
from pineconed.transport.unix import UnixStream, reach_unix
from pineconed.transport.uri import PeerUri
from pineconed.transport.uri_options import UriOptions
from pineconed.transport.websocket.running import RunningPumps


class Connector:
    """Dials peers of every scheme, in the name of the node that `signer` stands for.

    `pumps` keeps those of WebSockets running.
    """

    def __init__(self, signer: Signer, pumps: RunningPumps) -> None:
        self._signer = signer
        self._pumps = pumps
        self._dial: dict[str, Callable[[PeerUri, float], Awaitable[Stream]]] = {
            "tcp": self._connect_tcp,
            "tls": self._connect_tls,
            "unix": self._connect_unix,
            "ws": self._connect_web,
            "wss": self._connect_web,
        }

    async def connect(self, uri: PeerUri, timeout: float) -> Stream:
        """A connected stream, ready for the handshake.

        Each address may take `timeout` seconds, and so may a proxy, and then all that TLS and HTTP do.
        ConnectError says in one sentence why there is none.
        """
        return await self._dial[uri.scheme](uri, timeout)

    async def _connect_tcp(self, uri: PeerUri, timeout: float) -> SocketStream:
        reached = await self._reach(uri, timeout)
        return SocketStream(reached.socket, reached.remote)

    async def _connect_tls(self, uri: PeerUri, timeout: float) -> Stream:
        return await self._over_tls(await self._reach(uri, timeout), uri.options, timeout)

    async def _connect_unix(self, uri: PeerUri, timeout: float) -> UnixStream:
        return await reach_unix(uri.path, timeout)

    async def _connect_web(self, uri: PeerUri, timeout: float) -> Stream:
        return await self._upgrade(await self._reach(uri, timeout), uri, timeout)

    @cached_property
    def _over_tls(self) -> Callable[[Reached, UriOptions, float], Awaitable[Stream]]:
        from pineconed.transport.tls.client import TlsClient  # noqa: PLC0415 (cryptography.x509: 2 MB)

        return TlsClient(self._signer).connect

    @cached_property
    def _upgrade(self) -> Callable[[Reached, PeerUri, float], Awaitable[Stream]]:
        from pineconed.transport.websocket.client import WebSocketDialler  # noqa: PLC0415 (aiohttp: 0.3 s)

        return WebSocketDialler(self._pumps).upgrade

    async def _reach(self, uri: PeerUri, timeout: float) -> Reached:
        """A connected TCP socket to the host of a URI."""
        options = uri.options
        if options.proxy is None:
            own = IPv6Address(address_of(self._signer.public_key))
            return await reach(uri.host, uri.port, timeout, options.interface, own)
        from pineconed.transport.proxy import reach_through  # noqa: PLC0415 (few need it)

        return await reach_through(options.proxy, uri.host, uri.port, timeout, options.interface)
