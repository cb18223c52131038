# SPDX-License-Identifier: Apache-2.0
"""Which flow a packet belongs to, so that a ping need not wait behind a bulk transfer of the same hosts."""

import hashlib

Flow = tuple[int, int]
"""A number from 0 to 255 for our own queues, and another that travels in the frame's header (`extra`)."""

MAX_REMEMBERED = 1024
"""Flows whose hash is remembered. A flood of others costs one hash a packet and no more memory."""

WITH_PORTS = frozenset((6, 17, 33, 132, 136))
"""Protocols that begin with the two ports: TCP, UDP, DCCP, SCTP, UDP-Lite."""


class FlowHash:
    """Maps packets to flows by a keyed hash, so that a stranger cannot choose which flows share a queue."""

    __slots__ = ("_key", "_remembered")

    def __init__(self, key: bytes) -> None:
        """`key` is secret and random, at most 64 bytes; the same key gives the same flows."""
        self._key = key
        self._remembered: dict[bytes, Flow] = {}

    def of(self, packet: bytes) -> Flow:
        """The flow of an IPv6 packet of at least 40 bytes.

        It is told by next header, hop limit, addresses and, where they directly follow the header, ports.
        """
        return self.of_identity(packet[6:44] if packet[6] in WITH_PORTS else packet[6:40])

    def of_identity(self, identity: bytes) -> Flow:
        """The same, from the bytes of the packet that tell it."""
        flow = self._remembered.get(identity)
        return self._remember(identity) if flow is None else flow

    def _remember(self, identity: bytes) -> Flow:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        queue, extra = hashlib.blake2b(identity, digest_size=2, key=self._key).digest()
        self._remembered[identity] = flow = queue, extra
        return flow
