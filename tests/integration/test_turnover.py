# SPDX-License-Identifier: Apache-2.0
"""200 peers dialled and dropped for two minutes leave nothing behind."""

import asyncio
import contextlib
import gc
import os
import random
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from pineconed.admin.client import AdminClient, ClientError, decode
from pineconed.admin.requests import AddPeer
from pineconed.admin.schema import Peer
from pineconed.signing import Ed25519Signer
from tests.bad_peers.client import announcement_frame, handshake, own_announcement
from tests.integration.test_daemon import Daemon
from tests.network.lab import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.patient]

PEERS = 200
SECONDS = 120
WARM_UP = 20
MEMORY_SLACK = 6_000_000
"""Bytes; queues, caches and the allocator's own reserve come and go."""

COUNTING = """
import asyncio, gc, signal, sys
from pineconed.daemon import app
run = app.Daemon.run
async def counted(self):
    def tell():
        gc.collect()
        print("tasks", len(asyncio.all_tasks()), file=sys.stderr, flush=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    await run(self)
app.Daemon.run = counted
from pineconed.daemon.main import main
main()
"""

LIMITS = """
half_open = 1000
half_open_per_source = 1000
links_per_source = 1000
accepts_per_second = 1000
accepts_burst = 1000
total_accepts_per_second = 1000
total_accepts_burst = 1000
backoff_min = 0.1
backoff_max = 0.5
"""


class Crowd:
    """Nodes that take and make connections and drop each of them in one of many ways, from a thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.dropped = 0
        self._target = target
        self._nodes = [Ed25519Signer(number.to_bytes(32)) for number in range(1, PEERS + 1)]
        self._greetings = [handshake(node) for node in self._nodes]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        gc.collect()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        listening = socket.create_server(("0.0.0.0", self.port), backlog=1000)
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        self._begin(self._accept(listening))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
                self._begin(self._take(accepted))

    async def _take(self, accepted: socket.socket) -> None:
        await self._treat(*await asyncio.open_connection(sock=accepted))

    def bother(self) -> None:
        """Call the daemon as well, from many addresses."""

        async def begin() -> None:
            for number in range(20):
                self._begin(self._dial(number))

        self._call(begin())

    def rest(self) -> None:
        """Call nobody any more, take nothing, and hang up."""

        async def end() -> None:
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0.2)  # for the transports to close

        self._call(end())

    def resume(self) -> None:
        """Take connections again."""
        self._call(self._start())

    async def _dial(self, number: int) -> None:
        source = (f"127.3.0.{number + 1}", 0)
        while True:
            with contextlib.suppress(OSError):
                streams = await asyncio.open_connection("127.0.0.1", self._target, local_addr=source)
                await self._treat(*streams)
            await asyncio.sleep(random.uniform(0, 0.2))

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, way = random.randrange(PEERS), random.randrange(8)
        try:
            if way == 0:
                writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
            elif way == 1:
                writer.write(self._greetings[number][:50])
            elif way > 2:
                writer.write(self._greetings[number])
            if way > 4:
                frame = announcement_frame(own_announcement(self._nodes[number], port=number % 200 + 1))
                writer.write(frame)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, 1.5)):
                    while await reader.read(65536):
                        pass
            if way % 2:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except OSError:
            pass
        finally:
            self.dropped += 1
            writer.transport.abort() if way % 2 else writer.close()


def tasks_of(daemon: Daemon) -> int:
    """How many tasks its loop has."""
    before = daemon.process.text().count("tasks ")
    os.kill(daemon.process.pid, signal.SIGUSR1)
    wait_until(
        lambda: len(re.findall(r"^tasks \d+$", daemon.process.text(), re.MULTILINE)) > before, 5, "a count"
    )
    return int(re.findall(r"^tasks (\d+)$", daemon.process.text(), re.MULTILINE)[-1])


class Holdings(NamedTuple):
    """What the daemon has while nobody talks to it, and the port that the next peer gets."""

    files: int
    tasks: int
    memory: int
    next_port: int


def at_rest(daemon: Daemon) -> Holdings:
    """Wait until no peering is left, then look, when no try to dial happens to be under way."""
    wait_until(lambda: not linked(daemon), 20, lambda: f"no peering: {linked(daemon)}")
    time.sleep(2)
    files = min(daemon.process.open_files() for _ in range(50))
    return Holdings(files, tasks_of(daemon), daemon.process.memory_bytes(), next_port(daemon))


def next_port(daemon: Daemon) -> int:
    """Each peering gets the lowest that is free, so one that was not given back shows."""
    with socket.create_connection(("127.0.0.1", int(daemon.uri.rpartition(":")[2]))) as visitor:
        visitor.sendall(handshake(Ed25519Signer(bytes(32))))
        wait_until(lambda: any(row.port for row in linked(daemon)), 5, "a port for a visitor")
        return next(row.port or 0 for row in linked(daemon))


def linked(daemon: Daemon) -> list[Peer]:
    return [row for row in peers(daemon) if row.port is not None or row.state == "handshake"]


def peers(daemon: Daemon) -> list[Peer]:
    return decode(AdminClient(str(daemon.socket)).get("/v1/peers"), list[Peer])


def churn(daemon: Daemon, uris: list[str], seconds: float) -> int:
    """Add and remove configured peers meanwhile; how many times."""
    client = AdminClient(str(daemon.socket))
    rounds, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        uri = random.choice(uris)
        with contextlib.suppress(ClientError):
            client.delete("/v1/peers", uri=uri)
        time.sleep(0.1)
        client.post("/v1/peers", AddPeer(uri))
        rounds += 1
    return rounds


@pytest.mark.timeout(SECONDS + 150)
@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # the crowd's; tasks that never began close nothing
def test_200_peers_dialled_and_dropped_leave_nothing_behind(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own_port = probe.getsockname()[1]
    with Crowd(own_port) as crowd:
        uris = [f"tcp://127.4.0.{number + 1}:{crowd.port}" for number in range(PEERS)]
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "pineconed.toml").write_text(
            f'listen = ["tcp://127.0.0.1:{own_port}"]\nconnect = {uris}\n[peering]\n{LIMITS}'
        )
        daemon = Daemon(tmp_path / "own", program=["-c", COUNTING]).ready()
        try:
            crowd.bother()
            churn(daemon, uris, WARM_UP)
            crowd.rest()
            before, dropped = at_rest(daemon), crowd.dropped
            crowd.resume()
            crowd.bother()
            rounds = churn(daemon, uris, SECONDS)
            most = max(row.port or 0 for row in peers(daemon))
            crowd.rest()
            after = at_rest(daemon)
            print(f"{crowd.dropped - dropped} connections dropped, {rounds} peers removed and added again;")
            print(f"highest port {most}; before {before}, after {after}")
            assert "Traceback" not in daemon.process.text()
            assert "internal fault" not in daemon.process.text()
            assert crowd.dropped - dropped > 20 * SECONDS
            assert (after.next_port, after.tasks) == (1, before.tasks)
            assert after.files <= before.files
            assert after.memory < before.memory + MEMORY_SLACK
            crowd.resume()
            wait_until(lambda: len(linked(daemon)) > PEERS // 4, 20, "many peerings again")
            assert daemon.ends()[0] == 0
        finally:
            daemon.process.kill()
