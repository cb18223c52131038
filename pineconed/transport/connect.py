# SPDX-License-Identifier: Apache-2.0
"""From the URI of a peer to a stream: one way for each scheme."""

from collections.abc import Awaitable, Callable
from functools import cached_property

from pineconed.signing import Signer
from pineconed.transport.stream import SocketStream, Stream
from pineconed.transport.tcp import Reached, reach
from pineconed.transport.uri import PeerUri
from pineconed.transport.uri_options import UriOptions


class Connector:
    """Dials peers of every scheme, in the name of the node that `signer` stands for."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._dial: dict[str, Callable[[PeerUri, float], Awaitable[Stream]]] = {
            "tcp": self._connect_tcp,
            "tls": self._connect_tls,
        }

    async def connect(self, uri: PeerUri, timeout: float) -> Stream:
        """A connected stream, ready for the handshake; each address may take `timeout` seconds.

        ConnectError says in one sentence why there is none.
        """
        return await self._dial[uri.scheme](uri, timeout)

    async def _connect_tcp(self, uri: PeerUri, timeout: float) -> SocketStream:
        reached = await self._reach(uri, timeout)
        return SocketStream(reached.socket, reached.remote)

    async def _connect_tls(self, uri: PeerUri, timeout: float) -> Stream:
        return await self._over_tls(await self._reach(uri, timeout), uri.options, timeout)

    @cached_property
    def _over_tls(self) -> Callable[[Reached, UriOptions, float], Awaitable[Stream]]:
        from pineconed.transport.tls.client import TlsClient  # noqa: PLC0415 (cryptography.x509: 2 MB)

        return TlsClient(self._signer).connect

    async def _reach(self, uri: PeerUri, timeout: float) -> Reached:
        """A connected TCP socket to the host of a URI."""
        return await reach(uri.host, uri.port, timeout, uri.options.interface)
