# SPDX-License-Identifier: Apache-2.0
"""Nodes in a row."""

from collections.abc import Sequence
from itertools import pairwise

from tests.network.lab import Lab, wait_until
from tests.network.nodes import PORT, Pineconed
from tests.network.tree import wait_for_tree


def line_of(lab: Lab, count: int, configuration: str = "") -> list[Pineconed]:
    """Nodes in a row, each dialling the next one towards the middle; only the ends have a TUN device."""
    hosts = lab.hosts(" ".join("abcdefgh"[:count]))
    links = [lab.link(left, right) for left, right in pairwise(hosts)]
    nodes = []
    for position, host in enumerate(hosts):
        link = links[position] if position < count // 2 else links[position - 1]
        connect = [] if position == count // 2 else [f"{link.address(link.other(host))}:{PORT}"]
        tun = "pine0" if position in (0, count - 1) else "none"
        nodes.append(Pineconed(host, connect=connect, tun=tun, configuration=configuration))
    for node in nodes:
        node.wait_ready()
    wait_for_tree(nodes)
    return nodes


def wait_for_ways(nodes: Sequence[Pineconed]) -> None:
    """Wait until each node of a row knows the way to both ends, without anybody having sent anything."""
    wait_until(lambda: _routed(nodes) and _routed(nodes[::-1]), 30, "a way from end to end")


def _routed(nodes: Sequence[Pineconed]) -> bool:
    """Whether each node would hand a frame for the last one to its neighbour in the row."""
    target = nodes[-1].address_shown()
    return all(
        node.ctl("routes", target)["next_key"] == neighbour.public_key.hex()
        for node, neighbour in pairwise(nodes)
    )
