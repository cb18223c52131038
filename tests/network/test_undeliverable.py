# SPDX-License-Identifier: Apache-2.0
"""What cannot be delivered: the kernel is told by ICMPv6 errors, the operator by `pineconectl ping`."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from pineconed.cli.failures import ExitCode
from tests.network.conftest import require_lab
from tests.network.lab import Lab, wait_until
from tests.network.nodes import PORT, Pineconed, command, overlay_address
from tests.network.ping import wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

SMALLEST_MTU = 1280
ABSENT = bytes(range(32))
"""A key that no node of a lab has."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pineconed, Pineconed]]:
    """Two nodes side by side; the second takes the shortest packets that IPv6 allows."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("pair")) as lab:
        a, b = lab.hosts("a b")
        link = lab.link(a, b)
        left = Pineconed(a, connect=[f"{link.address(b)}:{PORT}"])
        right = Pineconed(b, configuration=f"[tun]\nmtu = {SMALLEST_MTU}\n").wait_ready()
        wait_for_ping(left.wait_ready().host, right.address)
        yield left, right


def said_by_ping(node: Pineconed, address: str, size: int = 56) -> str:
    """What ping(8) prints of three requests."""
    argv = ["ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-s", str(size), address]
    process = node.host.start(f"ping-{time.monotonic_ns()}", *argv)
    process.wait(20)
    return process.text()


def echo(node: Pineconed, to: str) -> tuple[int, str]:
    """One `pineconectl ping`: its exit code and what it prints."""
    argv = [command("pineconectl"), "--socket", str(node.socket), "ping", "-c", "1", "-W", "1", to]
    process = node.host.start(f"pineconectl-{time.monotonic_ns()}", *argv)
    return process.wait(20), process.text()


def test_the_kernel_learns_how_long_a_packet_may_be(pair: tuple[Pineconed, Pineconed]) -> None:
    """The first packet comes back; the kernel then sends fragments that the other node takes."""
    left, right = pair
    text = said_by_ping(left, right.address, size=4000)
    assert f"From {left.address_shown()} icmp_seq=1 Packet too big: mtu={SMALLEST_MTU}" in text
    assert [f"icmp_seq={number} ttl=" in text for number in (1, 2, 3)] == [False, True, True]
    assert f"mtu {SMALLEST_MTU}" in left.host.run("ip", "-6", "route", "get", right.address)
    assert left.status()["drops"]["out_too_big"] == 1


def test_a_node_without_peers_has_no_route(lab: Lab) -> None:
    node = Pineconed(lab.host("a")).wait_ready()
    text = said_by_ping(node, overlay_address(ABSENT))
    assert text.count(f"From {node.address_shown()} icmp_seq=") == 3
    assert text.count("Destination unreachable: No route") == 3
    assert node.status()["drops"]["out_no_route"] >= 3
    code, text = echo(node, overlay_address(ABSENT))
    assert (code, "the route fails" in text) == (ExitCode.ROUTE_FAILS, True)


def test_packets_for_a_host_without_an_interface_are_counted(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    right = Pineconed(b, tun="none").wait_ready()
    left = Pineconed(a, connect=[f"{link.address(b)}:{PORT}"]).wait_ready()
    wait_until(lambda: echo(left, right.address)[0] == ExitCode.DONE, 20, "a session")
    assert "ttl=" not in said_by_ping(left, right.address)
    assert right.status()["drops"]["tun_absent"] == 3


def test_an_echo_tells_the_session_from_the_peer(pair: tuple[Pineconed, Pineconed]) -> None:
    left, right = pair
    assert echo(left, right.public_key.hex())[0] == ExitCode.DONE
    # Whatever is for an address just below its key leads to the node, which does not own that address.
    below = (int.from_bytes(right.public_key[:15]) - 1).to_bytes(15)
    code, text = echo(left, overlay_address(below))
    assert (code, "the session fails" in text) == (ExitCode.SESSION_FAILS, True)
    other_key = right.public_key[:31] + bytes([right.public_key[31] ^ 1])
    code, text = echo(left, other_key.hex())
    assert (code, f"has another key, {right.public_key.hex()}" in text) == (ExitCode.SESSION_FAILS, True)
    os.kill(right.process.pid, signal.SIGSTOP)
    try:
        code, text = echo(left, right.address)
    finally:
        os.kill(right.process.pid, signal.SIGCONT)
    assert (code, "the peer fails" in text) == (ExitCode.PEER_FAILS, True)
    wait_for_ping(left.host, right.address)
