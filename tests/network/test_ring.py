# SPDX-License-Identifier: Apache-2.0
"""A ring of five loses the link that its traffic uses: silently, by a reset, and by a link that refuses.

After a reset the peering can be dialled again at once; a link that refuses stays away like one that is
silent, but both ends know it at once.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.network.conftest import require_lab
from tests.network.lab import Lab, Link, Namespace
from tests.network.nodes import PORT, Pineconed
from tests.network.ping import PingStream, ping, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(600)]

SIZE = 5
CUTS = 10
REDIAL = "[peering]\nbackoff_max = 2.0\n"
"""Dial again quickly, so that the ring is whole again soon after a cut is undone."""


class Node(Protocol):
    """What the ring asks of a node, whichever program it is."""

    @property
    def host(self) -> Namespace: ...

    @property
    def address(self) -> str: ...


@dataclass
class Ring:
    """Nodes in a circle; link number i joins node i and node i + 1."""

    nodes: Sequence[Node]
    links: Sequence[Link]

    def wait_whole(self, timeout: float = 90.0) -> None:
        """Wait until every node reaches every other."""
        for node in self.nodes:
            for other in self.nodes:
                if node is not other:
                    wait_for_ping(node.host, other.address, timeout)

    def links_in_use(self, source: Node, target: Node) -> list[Link]:
        """Return the links that carry a ping from `source` to `target` or back, by their counters."""
        before = self._counters()
        ping(source.host, target.address, count=50, size=1000, interval=0.02)
        rise = [after - earlier for earlier, after in zip(before, self._counters(), strict=True)]
        return [link for link, packets in zip(self.links, rise, strict=True) if packets >= 50]

    def _counters(self) -> list[int]:
        return [sum(end.sent_packets(link.device) for end in (link.a, link.b)) for link in self.links]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """Five nodes of ours; each dials the next."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("ring")) as lab:
        hosts = lab.hosts(" ".join(f"n{number}" for number in range(SIZE)))
        links = [lab.link(hosts[number], hosts[(number + 1) % SIZE]) for number in range(SIZE)]
        nodes = [
            Pineconed(host, connect=[f"{link.address(link.b)}:{PORT}"], configuration=REDIAL)
            for host, link in zip(hosts, links, strict=True)
        ]
        for node in nodes:
            node.wait_ready()
            node.wait_peers(2)
        yield Ring(nodes, links)


def outages(
    ring: Ring, cut: Callable[[Link], None], seed: int, whole: Callable[[], None], cuts: int = CUTS
) -> list[float]:
    """Cut a link in use some times and return how long ping was away, in seconds."""
    chance = random.Random(seed)
    found = []
    for number in range(cuts):
        whole()
        source, target = ring.nodes[number % SIZE], ring.nodes[(number + 2) % SIZE]
        link = chance.choice(ring.links_in_use(source, target))
        found.append(outage_of(source, target, link, cut))
        print(f"cut {number + 1}: {link.a.label}-{link.b.label}, away for {found[-1]:.2f} s", flush=True)
        link.heal()
    return found


def outage_of(source: Node, target: Node, link: Link, cut: Callable[[Link], None]) -> float:
    with PingStream(source.host, target.address, interval=0.05) as stream:
        time.sleep(0.5)
        began = time.time()
        cut(link)
        return stream.outage(began, time.time(), 60)


def whole_again(ring: Ring) -> None:
    """Wait until every node has both its peerings and a ping goes round."""
    for node in ring.nodes:
        assert isinstance(node, Pineconed)
        node.wait_peers(2, timeout=60)
    for number, node in enumerate(ring.nodes):
        wait_for_ping(node.host, ring.nodes[(number + 2) % SIZE].address)


def report(kind: str, seconds: Sequence[float]) -> str:
    figures = ", ".join(f"{value:.2f}" for value in sorted(seconds))
    return f"{kind}: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s ({figures})"


def test_silent_cuts(ring: Ring) -> None:
    seconds = outages(ring, Link.drop, 1, lambda: whole_again(ring))
    print(report("ten silent cuts", seconds))
    assert max(seconds) <= 13
    assert statistics.median(seconds) <= 9


def test_cuts_by_reset(ring: Ring) -> None:
    seconds = outages(ring, Link.reset, 2, lambda: whole_again(ring))
    print(report("ten cuts by reset", seconds))
    assert max(seconds) <= 5


def test_cuts_by_refusal(ring: Ring) -> None:
    seconds = outages(ring, Link.refuse, 3, lambda: whole_again(ring), cuts=5)
    print(report("five links that refuse", seconds))
    assert max(seconds) <= 13
