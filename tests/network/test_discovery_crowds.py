# SPDX-License-Identifier: Apache-2.0
"""The listener of LAN discovery beside connections that come to nothing."""

import re
import time
from contextlib import ExitStack, suppress

import pytest

from pineconed.transport.gate import DAWDLING
from pineconed.wire.handshake import HANDSHAKE_LENGTH
from tests.bad_peers.client import announcement_frame, handshake, own_announcement
from tests.bad_peers.crowd import low_signer
from tests.network.lab import Lab, Namespace
from tests.network.nodes import Pineconed
from tests.network.segment import NETWORK, plug

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("begins", [False, True], ids=["silent", "slow"])
@pytest.mark.parametrize("sources", [1, 200])
def test_neighbours_peer_beside_a_thousand_idle_connections(lab: Lab, sources: int, begins: bool) -> None:
    """Within a second; when they come from more addresses than there is room for, once these have dawdled."""
    hosts = lab.hosts("node crowd guest")
    plug(lab, hosts, "4")
    for number in range(sources):
        hosts[1].run("ip", "address", "add", f"{NETWORK}.{10 + number}/24", "dev", "eth0")
    node = Pineconed(hosts[0], (), tun="none", options=["--multicast"]).wait_ready()
    beginning = handshake(low_signer())[:50]
    port = int(re.findall(r":(\d+)\s", hosts[0].run("ss", "-ltnH"))[0])
    with ExitStack() as idle:
        connections = [idle.enter_context(hosts[1].open_socket()) for _ in range(1000)]
        for number, connection in enumerate(connections):
            connection.bind((f"{NETWORK}.{10 + number % sources}", 0))
            connection.setblocking(False)
            connection.connect_ex((f"{NETWORK}.1", port))
        time.sleep(0.2)
        for connection in connections if begins else ():
            with suppress(OSError):
                connection.send(beginning)
        time.sleep(DAWDLING if sources > 1 else 0)
        took = peering_seconds(hosts[2], port)
        print(f"a neighbour peered after {took:.2f} s; {node.process.open_files()} open files")
        assert took < 1
        assert node.process.open_files() < 300


def peering_seconds(guest: Namespace, port: int) -> float:
    """How long somebody takes from the connect to the node's first announcement."""
    signer, began, got = low_signer(), time.monotonic(), b""
    with guest.connect(f"{NETWORK}.1", port) as peering:
        peering.sendall(handshake(signer) + announcement_frame(own_announcement(signer)))
        while len(got) <= HANDSHAKE_LENGTH:
            more = peering.recv(4096)
            assert more
            got += more
    return time.monotonic() - began
