# SPDX-License-Identifier: Apache-2.0
"""The status socket: what everybody on this machine may know of the node, and nothing else.

`GET /v1/status`, without what concerns the peers, and `GET /v1/version`. Whoever connects is a stranger, so
all that a crowd of strangers can take is small and bounded: connections, time for each, pieces and bytes of
a request, and answers a second; the rest waits in the kernel. Nothing of it is shared with the admin socket.

Strangers are heard in a thread of its own, as every call on their sockets may block for as long as they like,
also on one that never waits: they can send descriptors along (SCM_RIGHTS in unix(7)), which the kernel closes
in the name of whoever takes or drops the message, and to close a TCP socket with SO_LINGER takes as long as
its owner said.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from pineconed.admin import requests, schema
from pineconed.admin.errors import AdminError
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.listener import STATUS, identity, open_listener, unlink_own
from pineconed.rate import TokenBucket

MAX_CLIENTS = 32
"""Connections at the same time; for one more the newest is closed."""

MAX_CLIENTS_PER_USER = 8
CLIENT_SECONDS = 2.0
"""How long one connection may take."""

MAX_REQUEST = 4096
MAX_PIECES = 16
"""In how many pieces a request may come; clients send theirs in one."""

ACCEPTS_PER_SECOND = 50.0
ACCEPTS_BURST = 50.0
FRESH_SECONDS = 0.5
"""How old an answer may be, so that many questions cost what one does."""

CLOSING_SECONDS = 1.0
"""How long `close` waits for a thread that somebody may be holding up."""

_RETRY_SECONDS = 0.2
_MODE_FOR_ALL = 0o666


class StatusServer:
    """Answers from a backend at `path`, which every user may connect to; `clock` gives seconds.

    `start` and `close` are called in the loop in which the backend answers. `start` raises AdminSocketError;
    `close` ends what is open and removes the socket.
    """

    def __init__(self, backend: AdminBackend, path: Path, clock: Callable[[], float]) -> None:
        self._backend = backend
        self._calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "/v1/status": self._status,
            "/v1/version": self._version,
        }
        self._path = path
        self._clock = clock
        self._bucket = TokenBucket(ACCEPTS_PER_SECOND, ACCEPTS_BURST)
        self._made: dict[str, tuple[float, bytes]] = {}
        self._users: Counter[int] = Counter()
        self._clients: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._backend_loop: asyncio.AbstractEventLoop  # from `start` on
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Listen; the socket can be connected to from then on."""
        self._listener = open_listener(self._path, _MODE_FOR_ALL, None, STATUS)
        self._identity = identity(self._path)
        self._backend_loop = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="status socket", daemon=True).start()
        self._loop.call_soon_threadsafe(self._listen, self._loop, self._listener)

    async def close(self) -> None:
        """Stop listening, end what is open, remove the socket. May be called twice.

        A thread that is held up is left to end later, at the latest with the process.
        """
        unlink_own(self._path, self._identity)
        loop, self._loop, self._identity = self._loop, None, None
        if loop is not None:
            ending = asyncio.run_coroutine_threadsafe(self._end(loop), loop)
            ending.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
            await asyncio.wait({asyncio.wrap_future(ending)}, timeout=CLOSING_SECONDS)

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    # ---------------------------------------------------------------- taking connections

    def _listen(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        loop.add_reader(listener, self._accept, loop, listener)

    def _rest(self, loop: asyncio.AbstractEventLoop, listener: socket.socket, seconds: float) -> None:
        loop.remove_reader(listener)
        self._pause = loop.call_later(seconds, self._listen, loop, listener)

    def _accept(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        wait = self._bucket.spend(1, self._clock())
        if wait:
            self._rest(loop, listener, wait)
            return
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptors left, for now
            self._rest(loop, listener, _RETRY_SECONDS)
            return
        client.setblocking(False)
        user = _user_of(client)
        if len(self._clients) >= MAX_CLIENTS or self._users[user] >= MAX_CLIENTS_PER_USER:
            client.close()
            return
        self._users[user] += 1
        task = loop.create_task(self._serve(client))
        self._clients.add(task)
        task.add_done_callback(lambda done: self._served(done, client, user))

    def _served(self, task: asyncio.Task[None], client: socket.socket, user: int) -> None:
        client.close()
        self._clients.discard(task)
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]

    # ---------------------------------------------------------------- answering one

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                await loop.sock_sendall(client, await self._answer(await _read_head(client)))
        except (TimeoutError, OSError):
            return

    async def _status(self) -> schema.Status:
        return public_status(await self._backend.status(requests.NoParameters()))

    async def _version(self) -> schema.Version:
        return self._backend.version(requests.NoParameters())

    async def _answer(self, head: bytes) -> bytes:
        """The whole answer to a request that begins so."""
        match head.split(b"\r\n", 1)[0].decode("latin-1").split(" "):
            case ["GET", path, _] if path in self._calls:
                return _response(HTTPStatus.OK, await self._body(path))
            case [_, _, version] if version.startswith("HTTP/1."):
                error = AdminError(
                    "not_permitted",
                    f"this socket answers only GET {' and GET '.join(self._calls)}",
                    "use the admin socket, as root or as a member of its group",
                )
            case _:
                error = AdminError("bad_request", "this is no request of HTTP/1.1", "send one")
        return _response(HTTPStatus(error.status), msgspec.json.encode(error.body()))

    async def _body(self, path: str) -> bytes:
        now = self._clock()
        made, body = self._made.get(path, (-FRESH_SECONDS, b""))
        if not body or now - made >= FRESH_SECONDS:
            body = msgspec.json.encode(await self._ask(path))
            self._made[path] = now, body
        return body

    async def _ask(self, path: str) -> Any:
        """What the backend says, in its own loop. OSError when that may be over."""
        if self._loop is None:
            raise ConnectionAbortedError
        asked = asyncio.run_coroutine_threadsafe(self._calls[path](), self._backend_loop)
        return await asyncio.wrap_future(asked)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def public_status(status: schema.Status) -> schema.Status:
    """What of a status is for everybody: no peer's key, and not where this node can be reached."""
    return msgspec.structs.replace(status, parent=None, listeners=[], reduced=True)


async def _read_head(client: socket.socket) -> bytes:
    """What comes up to the empty line, or to the limit or the end."""
    loop = asyncio.get_running_loop()
    head = b""
    for _ in range(MAX_PIECES):
        piece = await loop.sock_recv(client, MAX_REQUEST)
        head += piece
        if not piece or b"\r\n\r\n" in head or len(head) >= MAX_REQUEST:
            break
    return head


def _response(status: HTTPStatus, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: pineconed\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) + 1}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body + b"\n"


def _user_of(client: socket.socket) -> int:
    """The number of the user at the other end (unix(7), SO_PEERCRED)."""
    _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)
