# SPDX-License-Identifier: Apache-2.0
"""Packets cross real TUN devices: two nodes, three in a line, SSH, and a restart in the middle."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tests.network.conftest import require_lab
from tests.network.lab import Lab, LabError, Namespace, wait_until
from tests.network.nodes import PORT, Pineconed, in_clear, overlay_address
from tests.network.ping import PingStream, ping, wait_for_ping
from tests.network.ssh import SshServer

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

FILE_BYTES = 100_000_000


@dataclass
class Line:
    """Hosts a and c with TUN devices, and b between them without one."""

    lab: Lab
    a: Pineconed
    b: Pineconed
    c: Pineconed


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Build a - b - c; a dials b, b dials c, so that both ways of meeting are there."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("line")) as lab:
        a, b, c = lab.hosts("a b c")
        left, right = lab.link(a, b), lab.link(b, c)
        made = Line(
            lab,
            Pineconed(a, connect=[f"{left.address(b)}:{PORT}"]),
            Pineconed(b, connect=[f"{right.address(c)}:{PORT}"], tun="none"),
            Pineconed(c),
        )
        for node in (made.a, made.b, made.c):
            node.wait_ready()
        wait_for_ping(a, made.c.address)
        wait_for_ping(c, made.a.address)
        yield made


def assert_pings(source: Namespace, address: str) -> None:
    """One byte and 60 KB, without loss."""
    small = ping(source, address, count=20, size=1, interval=0.05)
    large = ping(source, address, count=20, size=60_000, interval=0.05)
    print(f"{source.label} to {address}: 1 byte {small}; 60 KB {large}")
    assert (small.received, large.received) == (20, 20)


def test_two_nodes_ping_both_ways(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    left = Pineconed(a, connect=[f"{link.address(b)}:{PORT}"])
    right = Pineconed(b)
    left.wait_ready()
    right.wait_ready()
    took = wait_for_ping(a, right.address)
    wait_for_ping(b, left.address)
    print(f"first answer {took:.1f} s after both daemons were ready")
    assert_pings(a, right.address)
    assert_pings(b, left.address)
    [session] = left.ctl("sessions")["sessions"]
    assert (session["public_key"], session["in_clear"]) == (right.public_key.hex(), False)
    assert left.ctl("ping", right.address, "-c", "3", "-i", "0.1")["answered"] == 3


def test_listed_nodes_are_reached_in_the_clear(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    seeds = os.urandom(32), os.urandom(32)
    addresses = [overlay_address(bytes(SigningKey(seed).verify_key)) for seed in seeds]
    left = Pineconed(
        a, connect=[f"{link.address(b)}:{PORT}"], seed=seeds[0], configuration=in_clear(addresses[1])
    )
    right = Pineconed(b, seed=seeds[1], configuration=in_clear(addresses[0]))
    left.wait_ready()
    right.wait_ready()
    wait_for_ping(a, right.address)
    assert_pings(b, left.address)
    for node in (left, right):
        [session] = node.ctl("sessions")["sessions"]
        assert (session["state"], session["in_clear"], session["cipher"]) == ("bare", True, None)


def test_who_is_not_listed_is_not_heard_in_the_clear(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    right = Pineconed(b)
    right.wait_ready()
    left = Pineconed(a, connect=[f"{link.address(b)}:{PORT}"], configuration=in_clear(right.address))
    left.wait_ready()
    wait_until(lambda: any(peer["announced"] for peer in left.peers()), 20, "the peering")
    assert ping(a, right.address, count=3, size=1, interval=0.1).received == 0
    assert right.status()["drops"]["bare_not_listed"] >= 3
    assert right.ctl("sessions")["sessions"] == []


def test_the_device_goes_with_the_daemon(lab: Lab) -> None:
    host = lab.host("a")
    node = Pineconed(host).wait_ready()
    assert node.address_shown() in host.run("ip", "-6", "-o", "address", "show", "dev", "pine0")
    began = time.monotonic()
    assert node.process.stop() == 0
    assert time.monotonic() - began < 2
    with pytest.raises(LabError, match="does not exist"):
        host.run("ip", "link", "show", "dev", "pine0")


def test_three_in_a_line_ping_both_ways(line: Line) -> None:
    assert_pings(line.a.host, line.c.address)
    assert_pings(line.c.host, line.a.address)


def test_ssh_through_the_middle(line: Line, tmp_path: Path) -> None:
    server = SshServer(line.c.host, line.c.address)
    assert server.execute(line.a.host, "echo through the overlay").strip() == "through the overlay"
    content = os.urandom(FILE_BYTES)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    began = time.monotonic()
    server.copy(line.a.host, source, target)
    took = time.monotonic() - began
    print(f"scp of {FILE_BYTES // 1_000_000} MB: {took:.1f} s, {FILE_BYTES * 8e-6 / took:.0f} Mbit/s")
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("way", ["asked to stop", "killed"])
def test_ping_is_back_after_the_middle_restarts(line: Line, way: str) -> None:
    wait_for_ping(line.a.host, line.c.address)
    with PingStream(line.a.host, line.c.address) as stream:
        time.sleep(1)
        began = time.time()
        if way == "killed":
            line.b.process.kill()
        else:
            line.b.process.stop()
        stopped = time.time()
        line.b.process.restart()
        outage = stream.outage(began, stopped, 60)
    print(f"middle node {way}: ping back after {outage:.1f} s")
    line.b.wait_ready()
    assert outage <= 10
