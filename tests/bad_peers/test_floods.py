# SPDX-License-Identifier: Apache-2.0
"""Floods against the node in the middle, while two honest nodes ping each other through it.

a and b have TUN devices, the node in the middle has none, and the flood comes over a link of its own. The
ping must keep its times and its packets, and the node its memory. A flood that did not reach its rate proves
nothing and fails the test.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bad_peers.flooder import Flooder
from tests.network.conftest import require_lab
from tests.network.lab import Lab, Link, Namespace
from tests.network.nodes import PORT, Pineconed, seed_with_prefix
from tests.network.ping import PingResult, PingStream, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

SECONDS = 10
MARGIN = 1.02
"""How much faster than stated a flood tries to be."""
MEMORY_GROWTH = 64 << 20
"""Bytes by which the node's resident memory may grow in a flood."""
LOG_LINES = 30
"""Lines that a flood may cause in the log."""
TOLD_CAUSES = {
    "bootstraps": "bootstrap over budget",
    "broadcasts": "broadcast over budget",
    "670-hop announcements": "announcement too long",
}
"""What the log says of the floods that are more than heavy; the others are made of legal frames."""

FLOODS = {
    "bootstraps": 10_000,
    "broadcasts": 10_000,
    "670-hop announcements": 100,
    "255-hop announcements": 100,
    "60 KB destination coords": 1_000,
    "60 KB source coords": 1_000,
}


@dataclass
class Crossing:
    """Two honest hosts, the node between them, and the host the flood comes from."""

    a: Pineconed
    middle: Pineconed
    b: Pineconed
    attacker: Namespace
    way_in: Link


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crossing]:
    """Build a - middle - b, and the attacker beside it. The root is a."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("floods")) as lab:
        a, middle, b, attacker = lab.hosts("a middle b attacker")
        left, right, way_in = lab.link(a, middle), lab.link(b, middle), lab.link(attacker, middle)
        made = Crossing(
            Pineconed(a, [], [f"{left.address(middle)}:{PORT}"], seed=seed_with_prefix("f0")),
            Pineconed(middle, tun="none", seed=seed_with_prefix("80")),
            Pineconed(b, [], [f"{right.address(middle)}:{PORT}"], seed=seed_with_prefix("40")),
            attacker,
            way_in,
        )
        for node in (made.a, made.middle, made.b):
            node.wait_ready()
        wait_for_ping(a, made.b.address)
        wait_for_ping(b, made.a.address)
        yield made


def flooder(crossing: Crossing, kind: str, rate: int) -> Flooder:
    """The flooding process, prepared and waiting for the word."""
    target = crossing.way_in.address(crossing.middle.host)
    arguments = (kind, target, str(PORT), str(rate * MARGIN), str(SECONDS))
    honest = {"FLOOD_TARGETS": f"{crossing.a.public_key.hex()} {crossing.b.public_key.hex()}"}
    return Flooder(crossing.attacker, "tests.bad_peers.flood", *arguments, environment=honest)


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(crossing: Crossing, kind: str) -> None:
    node = crossing.middle.process
    ended = len(crossing.a.disconnects()) + len(crossing.b.disconnects())
    with flooder(crossing, kind, FLOODS[kind]) as flood:
        flood.wait_ready()
        wait_for_ping(crossing.a.host, crossing.b.address)
        lines, memory, busy = len(node.text().splitlines()), node.memory_bytes(), node.cpu_seconds()
        with PingStream(crossing.a.host, crossing.b.address, interval=0.02) as stream:
            time.sleep(0.5)
            flood.begin()
            report = flood.report(timeout=SECONDS * 6)
            peak = node.peak_memory_bytes()
            result = stream.stop()
    busy = (node.cpu_seconds() - busy) / report["seconds"]
    told = node.text().splitlines()[lines:]
    print(
        f"{kind}: {report['rate']:.0f}/s for {report['seconds']:.1f} s ({report['bytes'] / 1e6:.0f} MB), "
        f"ping {result}, loss {100 * result.loss:.2f} %, memory {memory >> 20} to {peak >> 20} MB, "
        f"{100 * busy:.0f} % of a processor, {len(told)} log lines",
        flush=True,
    )
    assert report["rate"] >= FLOODS[kind]
    assert_untouched(result)
    assert peak <= memory + MEMORY_GROWTH
    assert len(told) <= LOG_LINES, told
    if kind in TOLD_CAUSES:
        assert sum(f"cause='{TOLD_CAUSES[kind]}'" in line for line in told) == 1, told
    assert len(crossing.a.disconnects()) + len(crossing.b.disconnects()) == ended


def assert_untouched(result: PingResult) -> None:
    assert result.sent >= SECONDS * 40
    assert result.loss <= 0.01
    assert result.median <= 20
