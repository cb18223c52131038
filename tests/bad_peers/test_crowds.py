# SPDX-License-Identifier: Apache-2.0
"""More peers than there are ports: those who were there stay, and those the operator chose get in."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bad_peers.crowd import Crowd
from tests.network.conftest import require_lab
from tests.network.lab import Lab, Namespace, wait_until
from tests.network.nodes import PORT, Pineconed, seed_with_prefix
from tests.network.ping import PingStream, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

PORTS = 253
SOURCES = 20
"""Addresses the crowd of 300 comes from; the node limits what one address may hold."""


@dataclass
class Place:
    """Two hosts that ping each other through the node, a host for the crowd, and one that comes late."""

    a: Pineconed
    middle: Pineconed
    b: Pineconed
    crowd: Namespace
    target: str
    sources: list[str]
    late: Namespace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Build it; the node in the middle is configured to dial the late one, who is not there yet."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("crowds")) as lab:
        a, middle, b, crowd, late = lab.hosts("a middle b crowd late")
        links = [lab.link(host, middle) for host in (a, b, crowd, late)]
        sources = [f"10.77.{links[2].number}.{100 + number}" for number in range(SOURCES)]
        for source in sources:
            crowd.run("ip", "address", "add", f"{source}/24", "dev", links[2].device)
        node = Pineconed(
            middle,
            connect=[f"{links[3].address(late)}:{PORT}"],
            tun="none",
            seed=seed_with_prefix("80"),
            configuration="[peering]\nbackoff_max = 2.0\n",
        ).wait_ready()
        ends = [
            Pineconed(host, [], [f"{link.address(middle)}:{PORT}"], seed=seed_with_prefix(key)).wait_ready()
            for host, link, key in zip((a, b), links[:2], ("f0", "40"), strict=True)
        ]
        wait_for_ping(a, ends[1].address)
        yield Place(ends[0], node, ends[1], crowd, links[2].address(middle), sources, late)


def plateau(crowd: Crowd, seconds: float = 4, timeout: float = 60) -> int:
    """Wait until the number of those inside has not grown for some time, and return it."""
    best, since, began = 0, time.monotonic(), time.monotonic()
    while time.monotonic() - since < seconds and time.monotonic() - began < timeout:
        if crowd.inside > best:
            best, since = crowd.inside, time.monotonic()
        time.sleep(0.2)
    return best


def test_300_peerings_at_once(place: Place) -> None:
    sources = [place.sources[number % SOURCES] for number in range(300)]
    before = {row["public_key"]: row["port"] for row in place.middle.peers() if row["port"]}
    lines = len(place.middle.process.text().splitlines())
    with PingStream(place.a.host, place.b.address, interval=0.05) as stream:
        with Crowd(place.crowd, place.target, PORT, sources) as crowd:
            inside = plateau(crowd)
            answered = time.monotonic()
            status = place.middle.status()
            answered = time.monotonic() - answered
            files = place.middle.process.open_files()
        result = stream.stop()
    told = len(place.middle.process.text().splitlines()) - lines
    print(
        f"300 at once: {inside} got in, {status['peers']} peers, {files} open files, ping {result}, "
        f"status after {answered:.2f} s, {told} log lines"
    )
    assert 200 <= inside <= PORTS
    assert status["peers"] <= PORTS
    assert files <= PORTS + 150
    assert result.loss <= 0.01
    assert result.median <= 20
    after = {row["public_key"]: row["port"] for row in place.middle.peers() if row["port"]}
    assert before.items() <= after.items()
    assert place.a.disconnects() == place.b.disconnects() == []
    wait_until(lambda: place.middle.status()["peers"] == 2, 15, "the crowd to be gone")


def test_a_configured_peer_gets_a_port_beside_253_from_one_address(place: Place) -> None:
    with Crowd(place.crowd, place.target, PORT, [place.sources[0]] * PORTS) as crowd:
        assert assert_late_peer_gets_in(place, plateau(crowd))


def test_a_configured_peer_gets_a_port_beside_300_from_many_addresses(place: Place) -> None:
    sources = [place.sources[number % SOURCES] for number in range(300)]
    with Crowd(place.crowd, place.target, PORT, sources) as crowd:
        assert assert_late_peer_gets_in(place, plateau(crowd))


def assert_late_peer_gets_in(place: Place, inside: int) -> bool:
    """Start the late one and wait for its peering; then send it away again."""
    late = Pineconed(place.late, tun="none", seed=seed_with_prefix("20")).wait_ready()
    key = late.public_key.hex()

    def there() -> bool:
        return any(row["public_key"] == key and row["port"] for row in place.middle.peers())

    took = wait_until(there, 15, "the configured peer to get a port")
    print(f"{inside} of the crowd got in; the configured peer was up {took:.1f} s after it was ready")
    late.process.stop()
    wait_until(lambda: not there(), 15, "the configured peer to be gone")
    return inside > 0
