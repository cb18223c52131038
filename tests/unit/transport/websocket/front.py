# SPDX-License-Identifier: Apache-2.0
"""A WebSocket listener with its gate, without a node behind it, and certificates for it."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme
import uvloop

from pineconed.signing import Ed25519Signer
from pineconed.transport.connect import Connector
from pineconed.transport.gate import AcceptGate, AcceptLimits
from pineconed.transport.listener import Listener
from pineconed.transport.stream import Stream
from pineconed.transport.tcp_place import TcpPlace
from pineconed.transport.uri import parse_listen_uri, parse_peer_uri
from pineconed.transport.websocket.running import RunningPumps
from pineconed.transport.websocket.server import WebSocketService
from tests.unit.transport.intake import Intake
from tests.unit.waiting import until


class Front:
    """Our side of everything: a listener, and a connector that dials."""

    def __init__(self, uri: str, limits: AcceptLimits | None) -> None:
        self.intake = Intake()
        self.pumps = RunningPumps()
        self.gate = AcceptGate(time.monotonic, limits)
        self.uri = parse_listen_uri(uri)
        self.service = WebSocketService(self.uri, self.intake, self.pumps)
        self.listener = Listener(TcpPlace(self.uri.host, self.uri.port), self.gate, self.service.serve)
        self.connector = Connector(Ed25519Signer(bytes(32)), self.pumps)

    @property
    def port(self) -> int:
        return int(self.listener.address.rpartition(":")[2])

    async def dial(self, uri: str, timeout: float = 5) -> Stream:
        return await self.connector.connect(parse_peer_uri(uri), timeout)

    async def failed(self) -> str:
        """The next failure of somebody who came in."""
        await until(lambda: self.intake.failures)
        return self.intake.failures.pop(0)


def with_front(
    check: Callable[[Front], Awaitable[None]],
    uri: str = "ws://127.0.0.1:0",
    limits: AcceptLimits | None = None,
    loop: Callable[[], Any] = uvloop.new_event_loop,
) -> None:
    """Run a check, close everything, and see that nothing is left."""

    async def live() -> None:
        front = Front(uri, limits)
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        await front.listener.start()
        try:
            await check(front)
        finally:
            await front.listener.close()
            await front.service.close()
            for stream in front.intake.streams:
                stream.close()
            await front.pumps.close()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        gc.collect()
        assert faults == []

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(live())


@dataclass(frozen=True)
class Files:
    """PEM files of an authority and of a server's certificate with its key."""

    ca: Path
    cert: Path
    key: Path

    def listen(self, address: str = "127.0.0.1:0") -> str:
        """The URI of a listener that shows this certificate."""
        return f"wss://{address}?cert={self.cert}&certkey={self.key}"


def certificates(
    folder: Path, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> Files:
    """Make an authority and a certificate for these names."""
    folder.mkdir(exist_ok=True)
    authority = trustme.CA()
    leaf = authority.issue_cert(*names, not_before=not_before, not_after=not_after)
    files = Files(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(files.ca)
    leaf.private_key_pem.write_to_path(files.key)
    files.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return files
