# SPDX-License-Identifier: Apache-2.0
"""Datagrams that are sent all at once."""

import socket
import time
from dataclasses import dataclass

from tests.network.lab import SO_RCVBUFFORCE, Namespace
from tests.network.nodes import Pineconed

UDP_PORT = 9200
IPV6_AND_UDP = 48
"""Bytes of headers before the data of a datagram."""

SETTLE_SECONDS = 1.0
"""How long to look for duplicates after the last datagram that was expected."""


@dataclass(frozen=True)
class Burst:
    """What arrived of one: the numbers in order of arrival; seconds from the first `sendto` on."""

    numbers: list[int]
    sent_after: float
    first_after: float
    last_after: float

    def __str__(self) -> str:
        sent, first, last = (1000 * moment for moment in (self.sent_after, self.first_after, self.last_after))
        many = len(self.numbers)
        return f"{many} datagrams, handed over in {sent:.1f} ms, arrived after {first:.1f} to {last:.1f} ms"


def send_burst(source: Namespace, target: Pineconed, count: int, packet_size: int, timeout: float) -> Burst:
    """Send `count` IPv6 packets of `packet_size` bytes as fast as possible; what arrived within `timeout`."""
    sender = source.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver = target.host.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        receiver.bind(("::", UDP_PORT))
        padding = bytes(packet_size - IPV6_AND_UDP - 2)
        datagrams = [number.to_bytes(2) + padding for number in range(count)]
        sender.connect((target.address, UDP_PORT))
        began = time.monotonic()
        for datagram in datagrams:
            sender.send(datagram)
        sent_after = time.monotonic() - began
        return _receive(receiver, count, began, sent_after, timeout)


def _receive(receiver: socket.socket, count: int, began: float, sent_after: float, timeout: float) -> Burst:
    arrivals: list[tuple[int, float]] = []
    deadline = began + timeout
    while (left := deadline - time.monotonic()) > 0:
        receiver.settimeout(left)
        try:
            datagram = receiver.recv(1 << 16)
        except TimeoutError:
            break
        arrivals.append((int.from_bytes(datagram[:2]), time.monotonic() - began))
        if len(arrivals) == count:
            deadline = time.monotonic() + SETTLE_SECONDS
    moments = [moment for _, moment in arrivals] or [float("inf")]
    return Burst([number for number, _ in arrivals], sent_after, moments[0], moments[-1])
