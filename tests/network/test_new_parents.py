# SPDX-License-Identifier: Apache-2.0
"""Both ends of a ping get another parent, and so other coords, at the same moment; the ping is soon back.

The ends have two neighbours each, and these meet in the middle: when an end loses its parent, the other
neighbour becomes it. Nothing is cut silently: how long it takes to notice that is another question.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.network.conftest import require_lab
from tests.network.lab import Lab, Link, Namespace
from tests.network.nodes import PORT, Pineconed, seed_with_prefix
from tests.network.ping import PingStream, wait_for_ping
from tests.network.tree import wait_for_tree

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

BACK_WITHIN = 4.0
TURNS = 3
REDIAL = "[peering]\nbackoff_max = 2.0\n"
"""Dial again quickly, so that everything is whole again soon after a change is undone."""


@dataclass
class Forks:
    """Ends, neighbours and the middle. Between an end and each of its neighbours there is one link."""

    lab: Lab
    ends: list[Pineconed]
    neighbours: list[list[Pineconed]]
    links: list[list[Link]]
    middle: Pineconed

    def everybody(self) -> list[Pineconed]:
        return [*self.ends, *(node for pair in self.neighbours for node in pair), self.middle]

    def sides(self) -> list[int]:
        """Which neighbour is each end's parent: 0 or 1."""
        return [self._side(end, pair) for end, pair in zip(self.ends, self.neighbours, strict=True)]

    def _side(self, end: Pineconed, pair: Sequence[Pineconed]) -> int:
        parent = end.ctl("tree")["parent"]
        return [neighbour.public_key.hex() for neighbour in pair].index(parent)

    def wait_whole(self) -> None:
        """Wait until all peerings are up, all agree on the tree, and a ping passes."""
        for node, peers in zip(self.everybody(), (2, 2, 2, 2, 2, 2, 4), strict=True):
            node.wait_peers(peers)
        wait_for_tree(self.everybody())
        wait_for_ping(self.ends[0].host, self.ends[1].address)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Build the network; the middle is the root, the other keys are spread."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("forks")) as lab:
        ends, neighbours = lab.hosts("left right"), [lab.hosts("l0 l1"), lab.hosts("r0 r1")]
        centre = lab.host("middle")
        middle = start(centre, [], "f0", tun="none")
        made = Forks(lab, [], [], [], middle)
        for side, (end, pair) in enumerate(zip(ends, neighbours, strict=True)):
            inner = [lab.link(host, centre) for host in pair]
            outer = [lab.link(end, host) for host in pair]
            ranks = (["10", "90"], ["60", "30"])[side]
            made.neighbours.append(
                [
                    start(host, [f"{link.address(centre)}:{PORT}"], rank, tun="none")
                    for host, link, rank in zip(pair, inner, ranks, strict=True)
                ]
            )
            targets = [f"{link.address(host)}:{PORT}" for host, link in zip(pair, outer, strict=True)]
            made.ends.append(start(end, targets, ("50", "a0")[side]))
            made.links.append(outer)
        for node in made.everybody():
            node.wait_ready()
        yield made


def start(host: Namespace, connect: list[str], rank: str, tun: str = "pine0") -> Pineconed:
    return Pineconed(host, connect=connect, seed=seed_with_prefix(rank), tun=tun, configuration=REDIAL)


def at_once(actions: Sequence[Callable[[], object]]) -> None:
    """Do several things at the same moment, as far as that goes."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def outage_of(forks: Forks, change: Callable[[], None]) -> float:
    """Seconds for which the ping between the ends is away."""
    with PingStream(forks.ends[0].host, forks.ends[1].address, interval=0.02) as stream:
        time.sleep(1)
        began = time.time()
        change()
        return stream.outage(began, time.time(), 60)


def assert_both_moved(forks: Forks, coords: Sequence[object]) -> None:
    after = [end.status()["coords"] for end in forks.ends]
    assert all(old != new for old, new in zip(coords, after, strict=True)), (coords, after)


@pytest.mark.parametrize("kind", ["refused", "reset", "killed"])
def test_ping_is_back_when_both_ends_lose_their_parents(forks: Forks, kind: str) -> None:
    outages = []
    for turn in range(TURNS):
        forks.wait_whole()
        sides = forks.sides()
        coords = [end.status()["coords"] for end in forks.ends]
        links = [pair[side] for pair, side in zip(forks.links, sides, strict=True)]
        parents = [pair[side] for pair, side in zip(forks.neighbours, sides, strict=True)]
        what: dict[str, Sequence[Callable[[], object]]] = {
            "refused": [link.refuse for link in links],
            "reset": [link.reset for link in links],
            "killed": [parent.process.kill for parent in parents],
        }
        outages.append(outage_of(forks, lambda actions=what[kind]: at_once(actions)))  # type: ignore[misc]
        print(f"{kind}, turn {turn + 1}: parents {sides}, ping back after {outages[-1]:.2f} s")
        assert_both_moved(forks, coords)
        for link in links:
            link.heal()
        for parent in parents:
            if not parent.process.alive:
                parent.process.restart()
    assert max(outages) <= BACK_WITHIN


def test_ping_is_back_when_a_stronger_root_comes_to_both_ends(forks: Forks) -> None:
    outages = []
    for turn in range(TURNS):
        forks.wait_whole()
        coords = [end.status()["coords"] for end in forks.ends]
        host = forks.lab.host(f"strongest{turn}")
        links = [forks.lab.link(host, end.host) for end in forks.ends]
        targets = [f"{link.address(end.host)}:{PORT}" for link, end in zip(links, forks.ends, strict=True)]
        with PingStream(forks.ends[0].host, forks.ends[1].address, interval=0.02) as stream:
            strongest = start(host, targets, "ff", tun="none").wait_ready()
            wait_for_tree([*forks.everybody(), strongest])
            time.sleep(BACK_WITHIN)
            came = stream.longest_silence()
            assert_both_moved(forks, coords)
            began = time.time()
            strongest.process.kill()
            went = stream.outage(began, time.time(), 60)
        print(f"turn {turn + 1}: ping away for {came:.2f} s when the root came, {went:.2f} s when it went")
        outages += [came, went]
    assert max(outages) <= BACK_WITHIN
