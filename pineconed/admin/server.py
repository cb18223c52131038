# SPDX-License-Identifier: Apache-2.0
"""The admin API's HTTP server on a Unix socket; the only module of the room that imports aiohttp."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from inspect import isawaitable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from pineconed.admin import requests
from pineconed.admin.decoding import MAX_BODY_BYTES, decode_body, decode_query
from pineconed.admin.endpoints import ENDPOINTS, Endpoint
from pineconed.admin.errors import AdminError
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.listener import identity, open_listener, unlink_own
from pineconed.admin.openapi import DOCUMENT_PATH, document

SAMPLE_INTERVAL = 1.0
"""Seconds between two looks at the byte counters, from which the rates are made."""

_CLOSE_TIMEOUT = 0.5
_JSON = "application/json"

_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """Serves a backend at `socket_path` (`mode` permission bits, owned by `group` if given).

    `start` raises AdminSocketError; `close` ends open connections within half a second and removes
    the socket.
    """

    def __init__(
        self,
        backend: AdminBackend,
        socket_path: Path,
        mode: int = 0o660,
        group: str | int | None = None,
    ) -> None:
        self._backend = backend
        self._path = socket_path
        self._mode = mode
        self._group = group
        self._identity: tuple[int, int] | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.AbstractServer | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen; returns when the socket can be connected to."""
        listener = open_listener(self._path, self._mode, self._group)
        self._identity = identity(self._path)
        try:
            await self._serve(listener)
        except BaseException:
            listener.close()
            await self.close()
            raise
        self._sample()

    async def close(self) -> None:
        """Stop listening, end what is open, remove the socket. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        unlink_own(self._path, self._identity)
        if self._runner is not None:
            await self._runner.cleanup()
        self._timer = self._server = self._runner = self._identity = None

    async def _serve(self, listener: socket.socket) -> None:
        self._runner = web.AppRunner(
            _application(self._backend), access_log=None, shutdown_timeout=_CLOSE_TIMEOUT
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 - setup() has made it
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._runner.server, sock=listener)

    def _sample(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SAMPLE_INTERVAL, self._sample)
        self._backend.sample_rates()


def _application(backend: AdminBackend) -> web.Application:
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
    for endpoint in ENDPOINTS:
        application.router.add_route(endpoint.method, endpoint.path, _handler(backend, endpoint))
    application.router.add_route("GET", DOCUMENT_PATH, _document_handler(backend))
    application.on_response_prepare.append(_sign)
    return application


def _handler(backend: AdminBackend, endpoint: Endpoint[Any, Any]) -> Handler:
    """What aiohttp calls for an endpoint."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = await _read(request, endpoint)
        answer = endpoint.call(backend, call)
        return _answer(endpoint.success, await answer if isawaitable(answer) else answer)

    return handle


async def _read(request: web.Request, endpoint: Endpoint[Any, Any]) -> Any:
    if endpoint.in_body:
        decode_query(request.query.items(), requests.NoParameters)
        return decode_body(await request.read(), endpoint.request)
    if request.can_read_body:
        raise AdminError("bad_request", "this call takes no body", "send its parameters in the query string")
    return decode_query(request.query.items(), endpoint.request)


def _document_handler(backend: AdminBackend) -> Handler:
    """What aiohttp calls for the document, which takes 20 ms to make and so is made once, when asked for."""

    @cache
    def made() -> dict[str, Any]:
        return document(backend.version(requests.NoParameters()).version)

    async def handle(request: web.Request) -> web.StreamResponse:
        decode_query(request.query.items(), requests.NoParameters)
        return _answer(200, made())

    return handle


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in the one shape of the schema, those that aiohttp finds too."""
    try:
        return await handler(request)
    except AdminError as error:
        return _error_answer(error)
    except web.HTTPException as error:
        return _error_answer(_translated(request, error), allow=error.headers.get("Allow"))
    except Exception:  # noqa: BLE001 - a call that fails must not end the daemon; it is logged
        _log.exception("internal fault in the admin API, please report it", call=request.path)
        return _error_answer(
            AdminError("internal", "the daemon made a mistake", "look in its log and report the traceback")
        )


def _translated(request: web.Request, error: web.HTTPException) -> AdminError:
    """An error that aiohttp raised, as one of ours."""
    if error.status == HTTPStatus.NOT_FOUND:
        return AdminError(
            "not_found", f"there is no {request.path}", f"see {DOCUMENT_PATH} for what there is"
        )
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        remedy = f"use one of {error.headers.get('Allow', 'those in the document')}"
        return AdminError("method_not_allowed", f"{request.method} is not for {request.path}", remedy)
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return AdminError("too_large", f"the body is over {MAX_BODY_BYTES} bytes", "send less")
    return AdminError("bad_request", error.reason, f"see {DOCUMENT_PATH} for what is taken")


def _error_answer(error: AdminError, allow: str | None = None) -> web.Response:
    response = _answer(error.status, error.body())
    if allow is not None:
        response.headers["Allow"] = allow
    return response


def _answer(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value) + b"\n", content_type=_JSON)


async def _sign(_: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["Server"] = "pineconed"
