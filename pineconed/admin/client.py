# SPDX-License-Identifier: Apache-2.0
"""The other end of the admin socket, for pineconectl and for scripts: the standard library's HTTP client.

It starts fast: neither aiohttp nor asyncio is imported. `Identifier` is re-exported because the client
is the only door by which the CLI comes into this room.
"""

import errno
import grp
import http.client
import os
import socket
import stat
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from pineconed.admin import schema
from pineconed.admin.identifier import Identifier, IdentifierError, parse_identifier

__all__ = [
    "DEFAULT_SOCKET",
    "DEFAULT_STATUS_SOCKET",
    "AdminClient",
    "BadAnswerError",
    "ClientError",
    "Identifier",
    "IdentifierError",
    "NoDaemonError",
    "NotPermittedError",
    "RefusedError",
    "decode",
    "parse_identifier",
]

DEFAULT_SOCKET = "/run/pineconed/admin.sock"
DEFAULT_STATUS_SOCKET = "/run/pineconed/status.sock"
MAX_ANSWER_BYTES = 64 * 1024 * 1024

_NOBODY = {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.ENOTSOCK, errno.EPROTOTYPE}

AnswerT = TypeVar("AnswerT")


class ClientError(Exception):
    """A call came to nothing; `remedy` says what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class NoDaemonError(ClientError):
    """Nobody answers on the socket."""


class NotPermittedError(ClientError):
    """This user may not open the socket."""


class RefusedError(ClientError):
    """The daemon answered with an error; `code` is that of the schema."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.code = code


class BadAnswerError(ClientError):
    """What answered does not speak this API, or another version of it."""


class AdminClient:
    """Calls to the daemon that listens at `socket_path`; each opens a connection of its own."""

    def __init__(self, socket_path: str = DEFAULT_SOCKET, timeout: float = 10.0) -> None:
        self.socket_path = socket_path
        self._timeout = timeout

    def get(self, path: str, **query: Any) -> bytes:
        """The JSON of a GET call; parameters that are None are left out. Raises ClientError."""
        return self._call("GET", path, query, None)

    def delete(self, path: str, **query: Any) -> bytes:
        """The JSON of a DELETE call. Raises ClientError."""
        return self._call("DELETE", path, query, None)

    def post(self, path: str, body: msgspec.Struct | None = None) -> bytes:
        """The JSON of a POST call. Raises ClientError."""
        return self._call("POST", path, {}, body)

    def put(self, path: str, body: msgspec.Struct) -> bytes:
        """The JSON of a PUT call. Raises ClientError."""
        return self._call("PUT", path, {}, body)

    def _call(self, method: str, path: str, query: dict[str, Any], body: msgspec.Struct | None) -> bytes:
        given = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        payload = msgspec.json.encode(body) if body is not None else None
        status, answer = self._exchange(method, target, payload)
        if status >= 400:
            raise _refusal(answer)
        return answer

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        connection = _UnixConnection(self.socket_path, self._timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER_BYTES)
        except TimeoutError:
            raise NoDaemonError(
                f"the daemon at {self.socket_path} did not answer within {self._timeout:g} s",
                "see 'systemctl status pineconed' and its log",
            ) from None
        except OSError as error:
            raise self._unreachable(error) from error
        except http.client.HTTPException as error:
            raise BadAnswerError(
                f"what listens at {self.socket_path} does not speak HTTP",
                "give the daemon's admin socket with --socket",
            ) from error
        finally:
            connection.close()

    def _unreachable(self, error: OSError) -> ClientError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return NotPermittedError(f"this user may not open {self.socket_path}", _who_may(self.socket_path))
        if error.errno in _NOBODY:
            return NoDaemonError(
                f"no daemon answers at {self.socket_path}",
                "start it with 'systemctl start pineconed', or give its admin socket with --socket",
            )
        return NoDaemonError(
            f"cannot talk to the daemon at {self.socket_path}: {error.strerror or error}",
            "give its admin socket with --socket, and see 'systemctl status pineconed'",
        )


def _who_may(socket_path: str) -> str:
    """Who may open a socket, and how to become one of them, as far as its permissions tell."""
    try:
        status = os.stat(socket_path)  # noqa: PTH116 (pathlib takes long to load)
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "run as root"
    if not status.st_mode & stat.S_IWGRP or not status.st_gid:
        return "run as root"
    join = f"'sudo adduser $USER {group}', then log in anew"
    return f"run as root (sudo), or as a member of the group {group}: {join}"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, socket_path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def decode(answer: bytes, kind: type[AnswerT]) -> AnswerT:
    """An answer as structs of the schema; fields that are new to us are ignored. Raises BadAnswerError."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.DecodeError as error:
        raise BadAnswerError(
            f"the daemon's answer is not understood: {error}",
            "run pineconectl and pineconed of the same version",
        ) from error


def _refusal(answer: bytes) -> ClientError:
    try:
        error = msgspec.json.decode(answer, type=schema.Error).error
    except msgspec.DecodeError:
        text = answer[:200].decode("utf-8", "replace").strip()
        return BadAnswerError(
            f"the daemon answered with an error that is none of this API: {text}",
            "give the daemon's admin socket with --socket",
        )
    return RefusedError(error.code, error.message, error.remedy)
