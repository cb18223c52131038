# SPDX-License-Identifier: Apache-2.0
"""Seeded graphs of nodes, 2 to 200 and more: who is cabled to whom."""

from collections.abc import Callable
from math import isqrt
from random import Random
from typing import NamedTuple

Edge = tuple[int, int]


class Topology(NamedTuple):
    """A connected graph over the nodes 0 to size - 1; the first node of an edge dials the second."""

    name: str
    size: int
    edges: tuple[Edge, ...]


def line(size: int, _rng: Random) -> tuple[Edge, ...]:
    """Every node is cabled to the next."""
    return tuple((node, node + 1) for node in range(size - 1))


def ring(size: int, rng: Random) -> tuple[Edge, ...]:
    """A line whose last node is cabled to the first (two nodes: a line)."""
    closing = ((size - 1, 0),) if size > 2 else ()
    return line(size, rng) + closing


def grid(size: int, _rng: Random) -> tuple[Edge, ...]:
    """Rows as long as the square root of the size, the last one perhaps shorter."""
    width = max(1, isqrt(size))
    across = [(node, node + 1) for node in range(size - 1) if (node + 1) % width]
    down = [(node, node + width) for node in range(size - width)]
    return tuple(sorted(across + down))


def tree(size: int, rng: Random) -> tuple[Edge, ...]:
    """A random tree: every node is cabled to a random earlier one."""
    return tuple((node, rng.randrange(node)) for node in range(1, size))


def random_connected(size: int, rng: Random) -> tuple[Edge, ...]:
    """A random tree and as many random edges again as it has, so every node has about four cables."""
    edges = {(low, high) for high, low in tree(size, rng)}
    wanted = min(2 * (size - 1), size * (size - 1) // 2)
    while len(edges) < wanted:
        low, high = sorted(rng.sample(range(size), 2))
        edges.add((low, high))
    return tuple(sorted(edges))


def two_clusters(size: int, rng: Random) -> tuple[Edge, ...]:
    """Two random clusters, of the first half and of the rest, and a bridge: the last edge."""
    half = size // 2
    left = random_connected(half, rng)
    right = tuple((low + half, high + half) for low, high in random_connected(size - half, rng))
    return (*left, *right, (rng.randrange(half), rng.randrange(half, size)))


SHAPES: dict[str, Callable[[int, Random], tuple[Edge, ...]]] = {
    "line": line,
    "ring": ring,
    "grid": grid,
    "tree": tree,
    "random": random_connected,
    "two-clusters": two_clusters,
}


def build(name: str, size: int, seed: int) -> Topology:
    """The topology `name` of `SHAPES` with `size` nodes; ValueError for an unknown name or under 2 nodes."""
    if name not in SHAPES or size < 2:
        raise ValueError(f"no topology {name!r} of {size} nodes; there are {', '.join(SHAPES)}, from 2 nodes")
    return Topology(name, size, SHAPES[name](size, Random(f"{name} {size} {seed}")))
