# SPDX-License-Identifier: Apache-2.0
"""Moves bytes between a channel of Bumble and the driver's end of a peering.

Little is kept on the way out, so that queues stay in the node, where they are fair: one write follows another
only when the controller has taken nearly all of the one before. Bumble cannot hold back what comes in, so a
channel whose bytes nobody takes is ended.
"""

import asyncio
import socket

from bumble.device import Connection
from bumble.l2cap import LeCreditBasedChannel, LeCreditBasedChannelSpec

SEND_BUFFER = 2048
"""SO_SNDBUF of the driver's end; the kernel doubles it."""

MAX_WRITE = 2048
"""Bytes handed to Bumble at once."""

PENDING = 1024
"""Bytes that the controller may still have to send when the next are handed over, about."""

MAX_BACKLOG = 256 * 1024
"""Bytes received that may wait for the driver."""


class ChannelPump:
    """One channel: `socket` is for the driver, `run` works until either side ends.

    `early` came already. Who runs this closes it then, and the channel, and the connection below.
    """

    def __init__(self, channel: LeCreditBasedChannel, early: bytes = b"") -> None:
        self.socket, self._far = socket.socketpair()
        for end in (self.socket, self._far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._channel = channel
        self._backlog = bytearray()
        self._came = asyncio.Event()
        self._over = asyncio.Event()
        self._overrun = False
        self._receive(early)
        channel.sink = self._receive
        channel.on(channel.EVENT_CLOSE, self._over.set)

    async def run(self) -> None:
        """Pump until either side has ended."""
        tasks = [asyncio.create_task(step) for step in (self._outward(), self._inward(), self._over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def overrun(self) -> bool:
        """Whether it ended because more than `MAX_BACKLOG` came."""
        return self._overrun

    def close(self) -> None:
        """Close the far end, so that the driver hears of the end."""
        self._far.close()

    async def _outward(self) -> None:
        loop, channel = asyncio.get_running_loop(), self._channel
        while data := await loop.sock_recv(self._far, MAX_WRITE):
            channel.write(data)
            await channel.drain()
            await self._controller_has_room()

    async def _controller_has_room(self) -> None:
        queue = self._channel.connection.data_packet_queue
        if queue is None:
            return
        packets = max(2, PENDING // queue.max_packet_size)
        flow = asyncio.Event()
        queue.on("flow", flow.set)
        try:
            while queue.pending > packets:
                flow.clear()
                await flow.wait()
        finally:
            queue.remove_listener("flow", flow.set)

    def _receive(self, sdu: bytes) -> None:
        self._backlog += sdu
        self._came.set()
        if len(self._backlog) > MAX_BACKLOG:
            self._overrun = True
            self._over.set()

    async def _inward(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            self._came.clear()
            while self._backlog:
                data = bytes(self._backlog)
                self._backlog.clear()
                await loop.sock_sendall(self._far, data)


async def open_channel(
    connection: Connection, spec: LeCreditBasedChannelSpec
) -> tuple[LeCreditBasedChannel, bytes]:
    """A channel to the other device, and what came by it meanwhile: Bumble drops bytes that have no sink."""
    early = bytearray()
    opening = asyncio.ensure_future(connection.create_l2cap_channel(spec))
    try:
        await asyncio.sleep(0)  # now the request is out
        for channel in connection.device.l2cap_channel_manager.channels.get(connection.handle, {}).values():
            if isinstance(channel, LeCreditBasedChannel) and channel.state is channel.State.CONNECTING:
                channel.sink = early.extend
        return await opening, bytes(early)
    finally:
        opening.cancel()
