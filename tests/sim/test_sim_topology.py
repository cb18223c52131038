# SPDX-License-Identifier: Apache-2.0
"""The seeded graphs: connected, simple, the same for the same seed."""

import pytest

from pineconed.sim.topology import SHAPES, Topology, build


def components(topology: Topology, without: int | None = None) -> int:
    """How many connected parts the graph has, perhaps without the edge of that number."""
    part = list(range(topology.size))
    for number, (one, other) in enumerate(topology.edges):
        if number != without and part[one] != part[other]:
            old, new = part[one], part[other]
            part = [new if name == old else name for name in part]
    return len(set(part))


@pytest.mark.parametrize("size", [2, 3, 5, 16, 30, 200])
@pytest.mark.parametrize("name", SHAPES)
def test_topologies_are_connected_simple_graphs(name: str, size: int) -> None:
    topology = build(name, size, seed=1)
    assert components(topology) == 1
    assert all(one != other for one, other in topology.edges)
    assert len({frozenset(edge) for edge in topology.edges}) == len(topology.edges)
    assert {node for edge in topology.edges for node in edge} == set(range(size))


@pytest.mark.parametrize("name", SHAPES)
def test_the_seed_decides(name: str) -> None:
    assert build(name, 30, seed=7) == build(name, 30, seed=7)
    if name in {"tree", "random", "two-clusters"}:
        assert build(name, 30, seed=7) != build(name, 30, seed=8)


def test_edges_of_the_regular_shapes() -> None:
    assert build("line", 4, 0).edges == ((0, 1), (1, 2), (2, 3))
    assert build("ring", 4, 0).edges == ((0, 1), (1, 2), (2, 3), (3, 0))
    assert build("grid", 5, 0).edges == ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4))


def test_the_bridge_is_the_only_way_between_two_clusters() -> None:
    topology = build("two-clusters", 20, seed=3)
    assert components(topology, without=len(topology.edges) - 1) == 2


@pytest.mark.parametrize(("name", "size"), [("star", 5), ("line", 1)])
def test_impossible_topologies_are_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="topology"):
        build(name, size, seed=1)
