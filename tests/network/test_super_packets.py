# SPDX-License-Identifier: Apache-2.0
"""Segmentation offload between real hosts: with nodes that take super-packets, and with those that do not."""

import hashlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.network.iperf import Transfer, throughput
from tests.network.lab import Lab, Namespace
from tests.network.nodes import PORT, GoIp, Pineconed, in_clear
from tests.network.ping import ping, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

SMALL = "[tun]\nmtu = 1280\n"
SMALL_WITHOUT = SMALL + "offload = false\n"
LARGE = "[tun]\nmtu = 65000\n"
LARGE_WITHOUT = LARGE + "offload = false\n"
TRANSFER = 20_000_000
LEAST_BITS = 2e6
"""What any of them carries, on any machine."""

WHOLE = 10_000
"""Bytes of an average packet of a bulk transfer at a small MTU, if super-packets travel whole."""


def pair(lab: Lab, left: str, right: str) -> tuple[Pineconed, Pineconed]:
    """Two peers with these configurations, the first of which dials."""
    hosts = lab.hosts("left right")
    link = lab.link(*hosts)
    nodes = (
        Pineconed(hosts[0], connect=[f"{link.address(hosts[1])}:{PORT}"], configuration=left),
        Pineconed(hosts[1], configuration=right),
    )
    for node in nodes:
        node.wait_ready()
    wait_for_ping(hosts[0], nodes[1].address)
    return nodes


def send_bytes(source: Namespace, target: Namespace, address: str) -> None:
    """Send bytes by TCP; they arrive as they were."""
    data = os.urandom(TRANSFER)
    listener = target.open_socket(socket.AF_INET6)
    listener.bind((address, 0))
    listener.listen()
    listener.settimeout(30)
    with listener, source.connect(address, listener.getsockname()[1], timeout=30) as client:
        server, _ = listener.accept()
        with server:
            server.settimeout(30)
            sender = threading.Thread(target=send_and_end, args=(client, data))
            sender.start()
            received = b"".join(iter(lambda: server.recv(1 << 20), b""))
            sender.join(30)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def send_and_end(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def datagrams(source: Namespace, target: Namespace, address: str) -> None:
    """Send datagrams of 1,100 bytes, 1,000 a second; nearly all arrive."""
    transfer = Transfer(source, target, address, 2, "-u", "-b", "8800k", "-l", "1100")
    total = transfer.report()["end"]["sum"]
    print(f"{total['packets']} datagrams, {total['lost_packets']} lost")
    assert total["packets"] > 1500
    assert total["lost_packets"] < total["packets"] * 0.1


def bad_checksums(host: Namespace) -> int:
    """How many TCP and UDP packets this host has thrown away for their checksum."""
    counters = host.run("nstat", "-asz", "TcpInCsumErrors", "Udp6InCsumErrors").splitlines()[1:]
    assert len(counters) == 2
    return sum(int(line.split()[1]) for line in counters)


def carry_everything(ends: Sequence[tuple[Namespace, str]]) -> None:
    """TCP, UDP and ping in both directions between two hosts, each with its overlay address."""
    for (source, _), (target, address) in (ends, ends[::-1]):
        send_bytes(source, target, address)
        rate = throughput(source, target, address, seconds=2)
        print(f"{rate / 1e6:.0f} Mbit/s")
        assert rate > LEAST_BITS
        datagrams(source, target, address)
        assert ping(source, address, count=5).received == 5
    assert [bad_checksums(host) for host, _ in ends] == [0, 0]


def mean_packet(node: Pineconed) -> float:
    """Bytes of an average packet that a node sent in its only session, super-packets counted as one."""
    (session,) = node.ctl("sessions")["sessions"]
    return float(session["tx_bytes"] / session["tx_packets"])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (SMALL, SMALL),
        (SMALL, SMALL_WITHOUT),
        (SMALL, LARGE),
        (LARGE, LARGE),
        (LARGE, LARGE_WITHOUT),
        (LARGE, SMALL_WITHOUT),
    ],
    ids=["both", "one", "mixed MTU", "large MTU", "one, large MTU", "one, mixed MTU"],
)
def test_everything_gets_through(lab: Lab, left: str, right: str) -> None:
    nodes = pair(lab, left, right)
    before = [Counter(node.status()["drops"]) for node in nodes]  # they may have known no way at first
    carry_everything([(node.host, node.address) for node in nodes])
    for node, drops in zip(nodes, before, strict=True):
        assert "fault" not in node.process.text()
        assert set(Counter(node.status()["drops"]) - drops) <= {"queue_full"}


@pytest.mark.parametrize(("right", "whole"), [(SMALL, True), (SMALL_WITHOUT, False)], ids=["with", "without"])
def test_only_who_takes_super_packets_gets_them(lab: Lab, right: str, whole: bool) -> None:
    node, peer = pair(lab, SMALL, right)
    throughput(node.host, peer.host, peer.address, seconds=2)
    print(f"{mean_packet(node):.0f} bytes a packet")
    assert (mean_packet(node) > WHOLE) is whole
    assert whole or mean_packet(node) <= 1280


@pytest.mark.reference
@pytest.mark.parametrize("configuration", [SMALL, LARGE], ids=["small MTU", "large MTU"])
def test_everything_gets_through_in_the_clear(lab: Lab, configuration: str, pineconeip_go: str) -> None:
    hosts = lab.hosts("left right")
    link = lab.link(*hosts)
    theirs = GoIp(hosts[1]).wait_ready()
    ours = Pineconed(
        hosts[0],
        connect=[f"{link.address(hosts[1])}:{PORT}"],
        configuration=configuration + in_clear(theirs.address),
    ).wait_ready()
    wait_for_ping(hosts[0], theirs.address)
    carry_everything([(hosts[0], ours.address), (hosts[1], theirs.address)])
    assert "fault" not in ours.process.text()
