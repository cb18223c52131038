# SPDX-License-Identifier: Apache-2.0
"""A TLS listener with all behind it but a node."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from pineconed.peering.admission import Objection
from pineconed.transport.gate import AcceptGate, AcceptLimits
from pineconed.transport.listener import Listener
from pineconed.transport.tcp import ConnectError, reach
from pineconed.transport.tcp_place import TcpPlace
from pineconed.transport.tls.client import TlsClient
from pineconed.transport.tls.server import TlsService
from pineconed.transport.tls.stream import TlsStream
from pineconed.transport.uri_options import UriOptions
from tests.unit.transport.intake import Intake
from tests.unit.transport.tls.pairs import CLIENT, SERVER_TLS
from tests.unit.waiting import until


class House(Intake):
    """A TLS listener with all behind it but a node."""

    def __init__(
        self,
        password: str | None = None,
        objects: Objection | None = None,
        limits: AcceptLimits | None = None,
    ) -> None:
        super().__init__()
        self.password = password
        self.objects = objects
        self.limits = limits

    async def open(self) -> None:
        self.gate = AcceptGate(time.monotonic, self.limits)
        self.service = TlsService(self, SERVER_TLS, self.password)
        self.listener = Listener(TcpPlace("127.0.0.1", 0), self.gate, self.service.serve)
        await self.listener.start()
        self.port = int(self.listener.address.rpartition(":")[2])

    async def close(self) -> None:
        await self.listener.close()
        await self.service.close()
        for stream in self.streams:
            stream.close()
        assert self.gate.half_open == len(self.streams)

    def objection(self, public_key: bytes) -> Objection | None:
        return self.objects

    async def dial(self, **options: object) -> TlsStream:
        reached = await reach("127.0.0.1", self.port, 5)
        return await TlsClient(CLIENT).connect(reached, UriOptions(**options), 5)  # type: ignore[arg-type]

    async def refuse(self, **options: object) -> str:
        """Dial in vain; the words of the client without the address."""
        with pytest.raises(ConnectError) as refusal:
            await self.dial(**options)
        address, _, words = str(refusal.value).partition(": ")
        assert address == f"127.0.0.1:{self.port}"
        return words

    async def settle(self) -> None:
        await until(lambda: self.failures or self.streams)


def run(
    check: Callable[[House], Awaitable[None]],
    house: House | None = None,
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> None:
    async def with_house() -> None:
        here = house or House()
        await here.open()
        try:
            async with asyncio.timeout(20):
                await check(here)
        finally:
            await here.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(with_house())
