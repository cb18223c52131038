# SPDX-License-Identifier: Apache-2.0
"""A TUN device in memory, for tests of the driver."""

import socket
from collections import Counter

from pineconed.tun.drops import TunDrop
from pineconed.wire.buffer import Buffer


class Device:
    """Packets come one by one from `emit`; `written` is what the host gets."""

    def __init__(self) -> None:
        self._host, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setblocking(False)
        self.written: list[bytes] = []
        self.fail_with: OSError | None = None
        self.drops: Counter[TunDrop] = Counter()
        self.fileno = self._near.fileno

    def emit(self, packet: bytes) -> None:
        """The host sends a packet."""
        self._host.send(packet)

    def read_packets(self, max_bytes: int) -> list[bytes]:
        if self.fail_with is not None:
            raise self.fail_with
        packets: list[bytes] = []
        try:
            while sum(map(len, packets)) < max_bytes:
                packets.append(self._near.recv(65536))
        except BlockingIOError:
            pass
        return packets

    def write(self, packets: list[Buffer]) -> None:
        self.written += [bytes(packet) for packet in packets]

    def close(self) -> None:
        self._host.close()
        self._near.close()
