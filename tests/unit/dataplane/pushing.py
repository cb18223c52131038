# SPDX-License-Identifier: Apache-2.0
"""Frames that can be told apart, pushed into a queue and taken out of it."""

from pineconed.dataplane.queues import PeerQueue


def frame(label: int, size: int) -> bytes:
    """A frame that can be told from others by its first two bytes."""
    return label.to_bytes(2) + bytes(size - 2)


def push(queue: PeerQueue, label: int, size: int, flow: int = 0, from_port: int = 0) -> None:
    queue.push_traffic(frame(label, size), size, flow, from_port)


def taken(queue: PeerQueue, budget: int) -> bytes:
    return b"".join(queue.take(budget))


def labels(queue: PeerQueue, size: int, budget: int = 1 << 30) -> list[int]:
    """The labels of all frames of one size that a take hands out."""
    stream = taken(queue, budget)
    assert len(stream) % size == 0
    return [int.from_bytes(stream[at : at + 2]) for at in range(0, len(stream), size)]
