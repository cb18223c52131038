# SPDX-License-Identifier: Apache-2.0
"""What the tests of whole networks share: settled networks, distances, and times derived from the protocol.

The times are virtual seconds; every bound in these tests is put together from the constants below.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from pineconed.sim.host import Host
from pineconed.sim.network import Network
from pineconed.sim.pipe import LinkShape
from pineconed.sim.scenario import agree_on_root, complete_snake
from pineconed.sim.topology import build

EXACT = LinkShape(latency=0.01, cut_probability=0.0)
"""Links for exact times: nothing but the latency."""

LATENCY = 0.01
"""One way, of every link in these tests."""

HOP = 2 * LATENCY
"""From node to node at most: the latency, and up to 1 ms for every piece of a segment that is cut."""

SETUP = 4 * LATENCY
"""From dialling to the first announcement: a round trip to connect, the handshake, the announcement."""

SILENCE = 5.0
"""A peering is given up after this much silence (protocol section 2)."""

KEEPALIVE = 3.0
"""An idle peering sends something this often (protocol section 2)."""

WAIT = 1.0
"""A node that lost faith in its parent waits this long before it selects another (protocol section 4)."""

UPKEEP = 1.0
"""The snake is looked after this often (protocol section 5)."""

BOOTSTRAP = 5.0
"""A bootstrap is due this long after the last one (protocol section 5); the next upkeep sends it."""

ROUND = BOOTSTRAP + UPKEEP
"""Within this time every node has sent a bootstrap."""

ENTRY = 10.0
"""A path lives this long after its last bootstrap (protocol section 5)."""

FADED = ENTRY + UPKEEP
"""Within this time every path is gone that no bootstrap has come by any more, tables included."""

REDIAL = 2.0
"""The longest first back-off of a dialler: between 1 and 2 s."""


def spreading(hops: int) -> float:
    """How long a root takes to be followed `hops` links away, when all nodes change their minds at once.

    By induction over the distance. Once a node follows the root for good, its neighbour hears of it within
    one HOP. What that neighbour said before may still be under way for a HOP; it is answered by a second
    announcement of the same root and sequence, which arrives another HOP later and sends the neighbour away
    for one WAIT (the table of protocol section 4: "lower root key" and "same root key, same sequence").
    After it the neighbour follows the root for good.
    """
    return hops * (3 * HOP + WAIT)


def settled(name: str, size: int, seed: int, *, real_signatures: bool = False) -> Network:
    """A network in which all agree on the root, the snake is whole and the paths before that have faded."""
    network = Network(seed, real_signatures=real_signatures)
    network.build(build(name, size, seed))
    agree_on_root(network, limit=spreading(size))
    complete_snake(network, limit=size * ROUND)
    network.run_for(FADED)
    return network


def strongest(hosts: Iterable[Host]) -> Host:
    """The host with the highest key, which becomes the root."""
    return max(hosts, key=lambda host: host.public_key)


def distances(network: Network, start: int) -> dict[int, int]:
    """The number of links from a host to every host that can be reached over living ones."""
    steps, queue = {start: 0}, deque([start])
    while queue:
        number = queue.popleft()
        for link in network.links_of(number):
            for host in network.live_hosts():
                if host in link.hosts and host.number not in steps:
                    steps[host.number] = steps[number] + 1
                    queue.append(host.number)
    return steps


def eccentricity(network: Network, start: int) -> int:
    """The number of links to the host that is farthest away."""
    return max(distances(network, start).values())


def is_connected(network: Network) -> bool:
    """Whether the living hosts can all reach each other."""
    live = network.live_hosts()
    return len(distances(network, live[0].number)) == len(live)


def table_sizes(hosts: Sequence[Host]) -> list[int]:
    """The number of snake entries of each host."""
    return [host.node.status(host.now()).counters["snake_entries"] for host in hosts]


def known_keys(host: Host) -> set[bytes]:
    """The keys in a host's snake table."""
    return {entry.public_key for entry in host.node.snake(host.now(), None, 1000).entries}


def assert_no_loops(network: Network) -> None:
    """No traffic, bootstrap or broadcast crossed a link twice in the same direction."""
    assert not any(network.crossings.repeats.values()), network.crossings.repeats
