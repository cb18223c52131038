# SPDX-License-Identifier: Apache-2.0
"""Whether the nodes of a lab agree on one spanning tree, judged from outside (protocol section 4)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.network.lab import wait_until
from tests.network.nodes import TreePlace


class TreeNode(Protocol):
    """What is asked of a node, ours or the reference's."""

    public_key: bytes

    def place(self) -> TreePlace: ...

    def ports(self) -> dict[int, str]: ...


def objections(nodes: Sequence[TreeNode]) -> list[str]:
    """Say what is wrong with the tree that these nodes form; nothing when it is right.

    All follow the highest key among them, the root has no coordinates, and everybody else's are those of one
    neighbour and then the port by which that neighbour knows them.
    """
    places = {node.public_key.hex(): node.place() for node in nodes}
    ports = {node.public_key.hex(): node.ports() for node in nodes}
    root = max(places)
    found = [f"{key[:8]} follows {place.root[:8]}" for key, place in places.items() if place.root != root]
    found += [
        f"{key[:8]} has coords {place.coords}, not one of {allowed}"
        for key, place in places.items()
        if place.coords not in (allowed := allowed_coords(key, root, places, ports))
    ]
    return found


def allowed_coords(
    key: str, root: str, places: Mapping[str, TreePlace], ports: Mapping[str, Mapping[int, str]]
) -> list[tuple[int, ...]]:
    """All coordinates that a node could rightly have, given where its neighbours stand."""
    if key == root:
        return [()]
    return [
        (*places[neighbour].coords, port)
        for neighbour, known in ports.items()
        for port, other in known.items()
        if other == key and neighbour != key
    ]


def wait_for_tree(nodes: Sequence[TreeNode], timeout: float = 30.0) -> float:
    """Wait until the tree is right; seconds it took."""
    return wait_until(lambda: not objections(nodes), timeout, lambda: f"one tree: {objections(nodes)}")
