# SPDX-License-Identifier: Apache-2.0
"""The listening side of WebSockets: from an accepted socket over TLS and HTTP to a pump.

aiohttp gets one accepted socket at a time, so that the gate stays in front of it. All before the upgrade is
bounded: `PATIENCE` seconds, short headers, no bodies, one answer for each connection. Who says something
else than HTTP gets one line in the log that says what it looks like.
"""

import asyncio
import socket
import ssl
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from pineconed.peering.peering import HANDSHAKE_TIMEOUT
from pineconed.transport.gate import GAVE_WAY, Visit
from pineconed.transport.service import Intake
from pineconed.transport.tcp import plain_reason
from pineconed.transport.uri import PeerUri
from pineconed.transport.visitors import Visitors
from pineconed.transport.websocket.page import SERVER, health, page, refusal
from pineconed.transport.websocket.pump import LINGER, RECEIVING, Carrier, Pump, abort
from pineconed.transport.websocket.running import RunningPumps
from pineconed.transport.websocket.tls import answer_in_tls, server_tls, speaks_tls
from pineconed.wire.first_bytes import Protocol, protocol_of

PATIENCE = HANDSHAKE_TIMEOUT
"""Seconds from the accept to the upgrade; the handshake of Pinecone gets what is left of them."""

_TELLING = 8
"""How many bytes tell what kind of client it is."""

MAX_LINE = 4096
"""Bytes of the request line, and of each header."""

TOO_SLOW = f"no WebSocket request within {PATIENCE:g} s"

NO_TLS = "what it sent is no TLS; a plain client belongs to a ws:// or tcp:// listener"

_log = structlog.get_logger(__name__)


class _Connection(web.RequestHandler):
    """One accepted connection. `settled` is done once it is a WebSocket or has ended."""

    __slots__ = ("begun", "carrier", "fault", "first", "remote", "settled", "visit")

    def __init__(self, server: web.Server, carrier: socket.socket, remote: str, visit: Visit) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # documented: no log
            keepalive_timeout=PATIENCE,
            tcp_keepalive=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            lingering_time=0,
            auto_decompress=False,
        )
        self.begun = False
        self.carrier = carrier
        self.remote = remote
        self.visit = visit
        self.fault: str | None = None
        self.first = b""
        self.settled: asyncio.Future[None] = loop.create_future()

    def settle(self) -> None:
        """It is a WebSocket, or has ended."""
        if not self.settled.done():
            self.settled.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of the WebSocket."""
        self.first = self.first or data[:_TELLING]
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is closed."""
        super().connection_lost(exc)
        self.settle()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what is no good request of HTTP, or a fault of ours."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("internal fault in the WebSocket listener, please report it", exc_info=exc)
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the daemon made a mistake; its log tells more")
        self.fault = _foreign(self.first)
        return refusal(HTTPStatus.BAD_REQUEST, "this is no HTTP that can be understood here")


class WebSocketService:
    """Serves the sockets of one `ws` or `wss` listener. ListenError when its TLS files are no good."""

    def __init__(self, uri: PeerUri, intake: Intake, pumps: RunningPumps) -> None:
        self._uri = uri
        self._intake = intake
        self._pumps = pumps
        self._origins = frozenset(uri.options.origins)
        self._tls = server_tls(uri)
        self._server = web.Server(self._answer)
        self._visitors = Visitors()

    def reload(self) -> None:
        """Read the TLS files again, for connections from now on. ListenError when they are no good."""
        self._tls = server_tls(self._uri)

    def serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        """Let aiohttp have the socket until it is a WebSocket or has ended."""
        connection = _Connection(self._server, accepted, remote, visit)
        self._visitors.hear(visit, self._attend(connection), partial(self._decide, connection))

    async def close(self) -> None:
        """End what is no WebSocket yet."""
        await self._visitors.close()

    # ---------------------------------------------------------------- before the upgrade

    async def _attend(self, connection: _Connection) -> None:
        async with asyncio.timeout(PATIENCE):
            if self._tls is not None and not await speaks_tls(connection.carrier):
                connection.fault = NO_TLS
                answer_in_tls(connection.carrier)
                return
            connection.begun = True
            await self._until_settled(connection)

    def _decide(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        """The connection is a WebSocket now, or has ended."""
        if not connection.begun:
            connection.carrier.close()
        connection.visit.closed()
        if task.cancelled():
            reason = None if self._visitors.closing else GAVE_WAY
        else:
            error = task.exception()
            reason = connection.fault if error is None else _words(error)
        if reason is not None:
            self._intake.fail(connection.remote, connection.visit, reason)

    async def _until_settled(self, connection: _Connection) -> None:
        """Serve the connection until it is a WebSocket or has ended; end it if that is cancelled."""
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection, connection.carrier, ssl=self._tls
        )
        try:
            await connection.settled
        except asyncio.CancelledError:
            transport.abort()
            raise

    # ---------------------------------------------------------------- requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "only GET is for this place", {"Allow": "GET, HEAD"}
            )
        if request.body_exists:
            return refusal(HTTPStatus.BAD_REQUEST, "a request here has no body")
        if request.method == "GET" and request.headers.get("Upgrade", "").strip().lower() == "websocket":
            return await self._open(request)
        return health() if request.path == "/healthz" else page()

    async def _open(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)  # noqa: S101  (they are all made above)
        if not self._may_come_from(request):
            connection.fault = "a web page of another site asked for it (see origin=)"
            return refusal(HTTPStatus.FORBIDDEN, "not for web pages of other sites")
        websocket = web.WebSocketResponse(timeout=LINGER, compress=False, writer_limit=0, **RECEIVING)
        websocket.headers["Server"] = SERVER
        try:
            writer = await websocket.prepare(_without_subprotocols(request))
        except (web.HTTPBadRequest, ValueError):  # aiohttp reads the key as ASCII
            connection.fault = "what it sent is no good request for a WebSocket"
            return refusal(HTTPStatus.BAD_REQUEST, "this is no good request for a WebSocket (RFC 6455)")
        except OSError:
            return refusal(HTTPStatus.BAD_REQUEST, "nobody reads this: the client is gone")
        if connection.transport is not None and not connection.settled.done():
            carrier = Carrier(connection.transport, writer.drain, connection.carrier)
            await self._run(connection, websocket, carrier)
        return websocket

    async def _run(
        self, connection: _Connection, websocket: web.WebSocketResponse[bool], carrier: Carrier
    ) -> None:
        """Make a stream of the WebSocket, and pump until it ends."""
        try:
            pump = Pump(websocket, carrier, self._uri.scheme, connection.remote)
        except OSError as error:  # no descriptors left, for now
            connection.fault = plain_reason(error)
            abort(carrier.transport)
            return
        self._intake.attach(pump.stream, connection.visit)
        connection.settle()
        await asyncio.wait({self._pumps.start(pump.run(), connection.remote)})

    def _may_come_from(self, request: web.BaseRequest) -> bool:
        """Whether the request is of no web page, of one that is at home here, or of one that is allowed."""
        origin = request.headers.get("Origin")
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            home = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(home) and home == request.headers.get("Host", "").lower()


def _without_subprotocols(request: web.BaseRequest) -> web.BaseRequest:
    """The same request; we know no subprotocols, and aiohttp would log each one that is asked for."""
    if "Sec-WebSocket-Protocol" not in request.headers:
        return request
    headers = request.headers.copy()
    headers.popall("Sec-WebSocket-Protocol")
    return request.clone(headers=headers)


def _foreign(first: bytes) -> str:
    """What a client that speaks no HTTP does speak, and where it belongs."""
    match protocol_of(first):
        case Protocol.PINECONE:
            return (
                "it speaks Pinecone without WebSocket; its URI has to begin with ws:// (or tcp:// elsewhere)"
            )
        case Protocol.TLS:
            return "it speaks TLS, which this listener does not have; its URI has to begin with ws://"
        case _:
            return "what it sent is no HTTP"


def _words(error: BaseException) -> str:
    """Why a connection came to nothing; a fault of ours is raised again."""
    if isinstance(error, TimeoutError):
        return TOO_SLOW
    if isinstance(error, OSError):
        return _tls_failure(error)
    raise error


def _tls_failure(error: OSError) -> str:
    if isinstance(error, ConnectionError):
        return "the client broke off the TLS handshake; perhaps it does not trust our certificate"
    if not isinstance(error, ssl.SSLError):
        return plain_reason(error)
    return f"TLS failed: {plain_reason(error)}"
