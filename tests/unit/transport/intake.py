# SPDX-License-Identifier: Apache-2.0
"""Where the streams of a listener go in tests, without a node, and how they are read."""

import asyncio

from pineconed.peering.admission import Objection
from pineconed.transport.gate import Visit
from pineconed.transport.stream import Stream


class Intake:
    """Takes streams, as the daemon's does, and notes what failed."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.failures: list[str] = []

    def attach(self, stream: Stream, visit: Visit) -> None:
        self.streams.append(stream)
        visit.opened(len(self.streams))

    def fail(self, _: str, visit: Visit, reason: str) -> None:
        visit.closed()
        self.failures.append(reason)

    def objection(self, _: bytes) -> Objection | None:
        return None


async def read(stream: Stream, size: int) -> bytes:
    """Read so many bytes as the driver would, or up to the end."""
    buffer, found = memoryview(bytearray(262_144)), b""
    async with asyncio.timeout(5):
        while len(found) < size:
            try:
                count = stream.recv_into(buffer)
            except BlockingIOError:
                await asyncio.sleep(0.001)
                continue
            if not count:
                break
            found += buffer[:count]
    return found
