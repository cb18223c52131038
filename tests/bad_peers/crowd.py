# SPDX-License-Identifier: Apache-2.0
"""Many peerings at once, all held by one thread of the test."""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Self

from pineconed.signing import Ed25519Signer
from pineconed.wire.frame import Keepalive, encode_frame
from pineconed.wire.handshake import HANDSHAKE_LENGTH
from tests.bad_peers.client import announcement_frame, handshake, own_announcement
from tests.network.lab import Namespace

KEEPALIVE_SECONDS = 2.0


class Crowd:
    """Peers that join, announce a root that nobody follows, and keep their connections alive.

    One that is refused or cut tries again every second, as long as the crowd is there.
    """

    def __init__(self, host: Namespace, target: str, port: int, sources: Sequence[str]) -> None:
        self._host = host
        self._target = (target, port)
        self._sources = sources
        self._signers = [low_signer() for _ in sources]
        self._connections: dict[int, socket.socket] = {}
        self._received: dict[int, int] = {}
        self._stopped = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(20)
        for member in list(self._connections):
            self._drop(member)
        self._selector.close()

    @property
    def inside(self) -> int:
        """How many have a port: they got an announcement after the node's handshake."""
        return sum(received > HANDSHAKE_LENGTH for received in list(self._received.values()))

    def _run(self) -> None:
        next_round = 0.0
        while not self._stopped.is_set():
            if time.monotonic() >= next_round:
                next_round = time.monotonic() + 1
                self._round()
            for key, _ in self._selector.select(0.1):
                self._read(key.data)

    def _round(self) -> None:
        for member in range(len(self._sources)):
            if member in self._connections:
                self._say(member, encode_frame(Keepalive()))
            else:
                self._join(member)

    def _join(self, member: int) -> None:
        with contextlib.suppress(OSError):
            connection = self._host.connect(*self._target, timeout=2, source=self._sources[member])
            self._connections[member] = connection
            self._received[member] = 0
            self._selector.register(connection, selectors.EVENT_READ, member)
            signer = self._signers[member]
            self._say(member, handshake(signer) + announcement_frame(own_announcement(signer)))

    def _say(self, member: int, data: bytes) -> None:
        try:
            self._connections[member].sendall(data)
        except OSError:
            self._drop(member)

    def _read(self, member: int) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = self._connections[member].recv(65536)
        if data:
            self._received[member] += len(data)
        else:
            self._drop(member)

    def _drop(self, member: int) -> None:
        connection = self._connections.pop(member, None)
        if connection is not None:
            self._received.pop(member, None)
            self._selector.unregister(connection)
            connection.close()


def low_signer() -> Ed25519Signer:
    """Return a signer with a key in the lower quarter."""
    while True:
        signer = Ed25519Signer(os.urandom(32))
        if signer.public_key[0] < 0x40:
            return signer
