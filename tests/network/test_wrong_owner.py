# SPDX-License-Identifier: Apache-2.0
"""Nobody owns an address: its packets are answered as unreachable, whoever is nearest to it gets nothing."""

import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from nacl.signing import SigningKey

from tests.network.lab import Lab, wait_until
from tests.network.nodes import PORT, Pineconed, overlay_address, seed_with_prefix
from tests.network.ping import wait_for_ping
from tests.network.tree import wait_for_tree

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

NEAREST_SEED = seed_with_prefix("c0")
UNREACHABLE_WITHIN = (7.5, 9.0)

CLAIMANT = """
import sys
from pineconed.daemon.main import main
from pineconed.dataplane import forward
from pineconed.wire.keys import KEY_PADDING

claimed = bytes.fromhex(sys.argv.pop(1))
start = forward.Forwarder.__init__

def start_claiming(self, *arguments, **options):
    start(self, *arguments, **options)
    self._own_prefix = claimed + KEY_PADDING

forward.Forwarder.__init__ = start_claiming
main()
"""
"""Our daemon, made to take frames for the node whose key begins so, and to answer them under its own key."""


def prefix_below(public_key: bytes) -> bytes:
    """The 15 bytes before those of a key: whoever has this key is the nearest to them."""
    return (int.from_bytes(public_key[:15]) - 1).to_bytes(15)


def nodes_in_line(lab: Lab, program: Sequence[str]) -> list[Pineconed]:
    """Four nodes with TUN devices; the nearest, at the far end, runs `program`, or as the others."""
    hosts = lab.hosts("a b c nearest")
    seeds = [
        *(seed_with_prefix(prefix, rank) for rank, prefix in enumerate(["40", "f0", "80"])),
        NEAREST_SEED,
    ]
    nodes = []
    for position, (host, seed) in enumerate(zip(hosts, seeds, strict=True)):
        connect = (
            [f"{lab.link(host, hosts[position + 1]).address(hosts[position + 1])}:{PORT}"]
            if position < 3
            else []
        )
        last = program if position == 3 else ()
        nodes.append(Pineconed(host, connect=connect, seed=seed, program=last))
    for node in nodes:
        node.wait_ready()
    wait_for_tree(nodes)
    return nodes


def written(nodes: Sequence[Pineconed]) -> list[int]:
    """How many packets each daemon has written into its TUN device."""
    shown = [node.host.run("ip", "-s", "-j", "link", "show", "dev", "pine0") for node in nodes]
    return [json.loads(text)[0]["stats64"]["rx"]["packets"] for text in shown]


def first_error(node: Pineconed, address: str) -> tuple[float, str]:
    """Ping until an error comes; after how many seconds, and what ping says."""
    began = time.monotonic()
    process = node.host.start(
        f"ping-{time.monotonic_ns()}", "ping", "-6", "-n", "-i", "0.5", "-c", "17", "-W", "1", address
    )
    wait_until(lambda: "nreachable" in process.text(), 15, process.text, interval=0.02)
    took = time.monotonic() - began
    process.wait(20)
    return took, process.text()


@pytest.mark.parametrize("nearest", ["honest", "claims the address"])
def test_nobody_owns_the_address(lab: Lab, nearest: str) -> None:
    hostile = nearest != "honest"
    absent = prefix_below(bytes(SigningKey(NEAREST_SEED).verify_key))
    address = overlay_address(absent)
    nodes = nodes_in_line(lab, [sys.executable, "-c", CLAIMANT, absent.hex()] if hostile else ())
    source, last = nodes[0], nodes[-1]
    wait_until(lambda: leads_to(source, address, nodes), 30, "a way to who is nearest")
    before, drops = written(nodes), last.status()["drops"]
    took, text = first_error(source, address)
    print(f"nearest {nearest}: unreachable after {took:.2f} s")
    assert UNREACHABLE_WITHIN[0] <= took <= UNREACHABLE_WITHIN[1]
    assert "Destination unreachable: Address unreachable" in text
    assert "ttl=" not in text
    after = written(nodes)
    assert after[0] > before[0]  # what ping was told
    assert after[1:] == before[1:]
    assert all(session["state"] != "up" for node in nodes for session in node.ctl("sessions")["sessions"])
    ours, theirs = source.status()["drops"], last.status()["drops"]
    if hostile:
        assert ours["response_foreign_key"] > 0
        assert theirs["no_route"] == drops["no_route"]
    else:
        assert ours["response_foreign_key"] == 0
        assert theirs["no_route"] > drops["no_route"]
    wait_for_ping(nodes[1].host, nodes[2].address)  # others are not disturbed
    if not hostile:
        wait_for_ping(source.host, last.address)


def leads_to(source: Pineconed, address: str, nodes: Sequence[Pineconed]) -> bool:
    """Whether every node but the last would hand a frame for this address to the next one."""
    return all(
        node.ctl("routes", address)["next_key"] == following.public_key.hex()
        for node, following in pairwise(nodes)
    )
