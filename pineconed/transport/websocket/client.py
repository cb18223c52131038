# SPDX-License-Identifier: Apache-2.0
"""The dialling side of WebSockets: TLS if it is `wss`, the upgrade, and the pump, over a connected socket."""

import asyncio
import socket
import ssl
from http import HTTPStatus

from aiohttp import (
    BaseConnector,
    ClientError,
    ClientRequest,
    ClientSession,
    ClientWSTimeout,
    DummyCookieJar,
    RedirectClientError,
    ServerDisconnectedError,
    WSServerHandshakeError,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from yarl import URL

from pineconed.transport.authority import host_port
from pineconed.transport.http_status import printable_status
from pineconed.transport.tcp import ConnectError, Reached, plain_reason
from pineconed.transport.uri import PeerUri
from pineconed.transport.websocket.pump import LINGER, RECEIVING, Carrier, Pump, abort
from pineconed.transport.websocket.running import RunningPumps
from pineconed.transport.websocket.stream import WebSocketStream
from pineconed.wire.first_bytes import Protocol, protocol_of

_MAX_HEADER = 8 * 1024
"""Bytes of one line of the answer."""

_TELLING = 8
"""How many bytes tell what kind of server it is."""

_UNKNOWN_SIGNER = "no authority that this machine trusts has signed it; name the right one by ca="
_CERTIFICATE = {
    9: "it is not valid yet (is the clock of this machine right?)",
    10: "it has expired (is the clock of this machine right?)",
    18: "it is self-signed: name its file by ca= if it is right, or write tls:// for a tls:// listener",
    19: _UNKNOWN_SIGNER,
    20: _UNKNOWN_SIGNER,
    21: _UNKNOWN_SIGNER,
    62: "it is for another host",
    64: "it is for another host",
}
"""What OpenSSL's verdicts on a certificate (X509_V_ERR_...) mean to the operator."""

_REDIRECTS = "no WebSocket there: the server redirects to another address; name the one that is meant"
_NO_ANSWER = (
    "no WebSocket there: the server closed the connection without an answer; "
    "perhaps its listener is of another scheme, such as tls:// or wss://"
)


_OTHERS: dict[Protocol | None, str] = {
    Protocol.TLS: "no WebSocket there: the server speaks TLS; the URI has to begin with wss:// or tls://",
    Protocol.PINECONE: "no WebSocket there: it speaks Pinecone without; the URI has to begin with tcp://",
}
"""Who answers by something else than HTTP, and where it belongs."""


class _RefusedError(ClientError):
    """What ends the dial, as a sentence."""


class _Connection(ResponseHandler):
    """The connection that is there, with the first bytes that the other end sent: they tell what it is."""

    first = b""

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or of the WebSocket."""
        self.first = self.first or data[:_TELLING]
        super().data_received(data)


class _Ready(BaseConnector):
    """Gives aiohttp the connection that is there already, once: no other attempt, no other address."""

    def __init__(self, protocol: ResponseHandler) -> None:
        super().__init__(force_close=True)
        self._protocol: ResponseHandler | None = protocol
        self._url: URL | None = None

    async def _create_connection(self, req: ClientRequest, *_: object) -> ResponseHandler:
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            raise _RefusedError(_NO_ANSWER if req.url == self._url else _REDIRECTS)
        self._url = req.url
        return protocol


class WebSocketDialler:
    """Makes WebSocket peerings of connected sockets, and runs their pumps."""

    def __init__(self, pumps: RunningPumps) -> None:
        self._pumps = pumps

    async def upgrade(self, reached: Reached, uri: PeerUri, timeout: float) -> WebSocketStream:
        """Ask for a WebSocket over this socket, which belongs to us from now on.

        ConnectError when there is none to be had within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._upgrade(reached, uri)
        except TimeoutError as error:
            raise ConnectError(
                f"{reached.remote}: connected, but there is no answer to our request"
            ) from error

    async def _upgrade(self, reached: Reached, uri: PeerUri) -> WebSocketStream:
        protocol = _Connection(asyncio.get_running_loop())
        transport = await self._begin(reached.socket, protocol, uri)
        session = _session(protocol)
        try:
            websocket = await session.ws_connect(
                _url(uri), timeout=ClientWSTimeout(ws_close=LINGER), **RECEIVING
            )
            drain = StreamWriter(protocol, asyncio.get_running_loop()).drain
            pump = Pump(websocket, Carrier(transport, drain, reached.socket), uri.scheme, reached.remote)
        except BaseException as error:
            abort(transport)
            await session.close()
            if isinstance(error, ClientError | OSError):
                raise ConnectError(_refusal(error, protocol.first)) from error
            raise
        self._pumps.start(_run(pump, session), uri.name)
        return pump.stream

    async def _begin(
        self, connected: socket.socket, protocol: ResponseHandler, uri: PeerUri
    ) -> asyncio.Transport:
        """Let the loop have the socket, with TLS around it if that is wanted."""
        loop = asyncio.get_running_loop()
        try:
            if uri.scheme == "ws":
                transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
            else:
                name = uri.options.sni or _without_zone(uri.host)
                trust = await _trust(uri.options.ca)
                transport, _ = await loop.create_connection(
                    lambda: protocol, sock=connected, ssl=trust, server_hostname=name
                )
        except BaseException as error:
            connected.close()
            if isinstance(error, OSError):
                raise ConnectError(_tls_failure(error, uri)) from error
            raise
        return transport


async def _trust(ca: str | None) -> ssl.SSLContext:
    """Whose certificates are believed: those of the authorities in this file, or else of the system's.

    Both are read each time, since they are renewed while we run; it takes 20 ms, so it has a thread.
    """
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=ca)
    except ssl.SSLError as error:
        raise ConnectError(f"ca={ca} holds no certificate in PEM form") from error
    except OSError as error:
        raise ConnectError(f"cannot read ca={ca}: {error.strerror}") from error


def _session(protocol: ResponseHandler) -> ClientSession:
    return ClientSession(
        connector=_Ready(protocol),
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": "pineconed"},
        max_line_size=_MAX_HEADER,
        max_field_size=_MAX_HEADER,
    )


async def _run(pump: Pump, session: ClientSession) -> None:
    try:
        await pump.run()
    finally:
        await session.close()


def _url(uri: PeerUri) -> URL:
    """For aiohttp, which sends host and path as they stand here."""
    return URL(f"{uri.scheme}://{host_port(_without_zone(uri.host), uri.port)}{uri.path}", encoded=True)


def _without_zone(host: str) -> str:
    return host.partition("%")[0]


def _tls_failure(error: OSError, uri: PeerUri) -> str:
    if isinstance(error, ConnectError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        name = uri.options.sni or uri.host
        why = _CERTIFICATE.get(error.verify_code, error.verify_message)
        return f"the certificate of {name} is refused: {why}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS there ({plain_reason(error)}); for a listener without TLS write ws:// (or tcp://)"
    return plain_reason(error)


def _refusal(error: ClientError | OSError, first: bytes) -> str:
    other = _OTHERS.get(protocol_of(first))
    if other:
        return other
    match error:
        case _RefusedError():
            return str(error)
        case RedirectClientError():
            return _REDIRECTS
        case ServerDisconnectedError():
            return _NO_ANSWER
        case WSServerHandshakeError(status=status) if status != HTTPStatus.SWITCHING_PROTOCOLS:
            return f"no WebSocket there: the server answers {printable_status(status)}"
        case OSError(errno=int()):
            return plain_reason(error)
        case _:
            return "no WebSocket server: the answer is not what HTTP and RFC 6455 say"
