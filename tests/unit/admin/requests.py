# SPDX-License-Identifier: Apache-2.0
"""HTTP requests over a Unix socket with nothing between the test and the bytes."""

import json
import socket
from pathlib import Path
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as plain JSON values."""
        return json.loads(self.body)


def exchange(path: Path, raw: bytes) -> Reply:
    """Send these bytes and read one answer to its end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(raw)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def call(path: Path, method: str, target: str, body: bytes | None = None) -> Reply:
    """One request of its own connection."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Length: {len(body)}\r\n"
    return exchange(path, head.encode() + b"\r\n" + (body or b""))
