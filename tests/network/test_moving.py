# SPDX-License-Identifier: Apache-2.0
"""A host that moves from one network to another, and one behind NAT."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.network.lab import Lab, Link, Namespace
from tests.network.nodes import PORT, Pineconed
from tests.network.ping import PingStream, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

BACK_BY_IT, BACK_TO_IT = 3.0, 4.0
"""Seconds after the move within which pings of the laptop, and pings to it, are answered again."""

TURNS = 6

TOLD = 5
"""How many ends of peerings with one peer the log tells in a minute."""


@dataclass
class Roads:
    """A laptop with two ways to a router, behind which the laptop's static peer stands, and a node behind."""

    laptop: Namespace
    router: Namespace
    peer: Namespace
    behind: Namespace
    ways: tuple[Link, Link]
    peer_address: str


def build(lab: Lab) -> Roads:
    """The second way is down at first."""
    laptop, router, peer, behind = lab.hosts("laptop router peer behind")
    ways = lab.link(laptop, router), lab.link(laptop, router)
    middle = lab.link(router, peer)
    lab.link(peer, behind)
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    peer.run("ip", "route", "add", "default", "via", middle.address(router))
    laptop.run("ip", "link", "set", ways[1].device, "down")
    laptop.run("ip", "route", "add", "default", "via", ways[0].address(router))
    return Roads(laptop, router, peer, behind, ways, middle.address(peer))


def switch_off(roads: Roads, way: Link) -> None:
    """The laptop switches the interface off."""
    roads.laptop.run("ip", "link", "set", way.device, "down")
    roads.laptop.run("ip", "address", "flush", "dev", way.device)


def pull_the_cable(roads: Roads, way: Link) -> None:
    """The carrier is lost; address and interface stay."""
    roads.router.run("ip", "link", "set", way.device, "down")


def walk_out_of_reach(roads: Roads, way: Link) -> None:
    """The address is taken away, as at the end of a lease."""
    roads.laptop.run("ip", "address", "flush", "dev", way.device)


def go_online(roads: Roads, way: Link, host: int) -> None:
    """The laptop gets a new address on this way, and a default route by it a moment later."""
    roads.laptop.run("ip", "address", "flush", "dev", way.device)
    roads.router.run("ip", "link", "set", way.device, "up")
    roads.laptop.run("ip", "link", "set", way.device, "up")
    roads.laptop.run("ip", "address", "add", f"10.77.{way.number}.{host}/24", "dev", way.device)
    time.sleep(0.2)
    roads.laptop.run("ip", "route", "replace", "default", "via", way.address(roads.router))


@pytest.mark.parametrize(
    ("leave", "scheme", "turns"),
    [
        (switch_off, "tcp", TURNS),
        (pull_the_cable, "tcp", TURNS),
        (walk_out_of_reach, "tcp", TURNS),
        (switch_off, "tls", 2),
        (switch_off, "ws", 2),
    ],
)
def test_a_laptop_moves(lab: Lab, leave: Callable[[Roads, Link], None], scheme: str, turns: int) -> None:
    roads = build(lab)
    peer, last = Pineconed(roads.peer, listen=[f"{scheme}://0.0.0.0:{PORT}"]).wait_ready(), lab.links[-1]
    behind = Pineconed(roads.behind, connect=[f"{scheme}://{last.address(roads.peer)}:{PORT}"]).wait_ready()
    laptop = Pineconed(roads.laptop, connect=[f"{scheme}://{roads.peer_address}:{PORT}"]).wait_ready()
    for node in (peer, behind):
        wait_for_ping(roads.laptop, node.address)
        wait_for_ping(node.host, laptop.address)
    with ExitStack() as pings:
        by_it = [pings.enter_context(PingStream(roads.laptop, node.address)) for node in (peer, behind)]
        to_it = [pings.enter_context(PingStream(node.host, laptop.address)) for node in (peer, behind)]
        for turn in range(turns):
            old, new = roads.ways[turn % 2], roads.ways[1 - turn % 2]
            leave(roads, old)
            time.sleep(1.5 * (turn % 3))
            go_online(roads, new, 10 + turn)
            moment = time.time()
            took = [stream.outage(moment, moment, 20) for stream in (*by_it, *to_it)]
            shown = ", ".join(f"{seconds:.2f}" for seconds in took)
            print(f"turn {turn}: seconds by it to the peer, behind; to it from the peer, behind: {shown}")
            assert max(took[:2]) < BACK_BY_IT, laptop.process.text()[-3000:]
            assert max(took[2:]) < BACK_TO_IT, laptop.process.text()[-3000:]
            time.sleep(1)
    laptop.wait_peers(1)
    ends = laptop.disconnects()
    assert min(turns, TOLD) <= len(ends) <= turns
    assert all("is down or has lost the address" in line for line in ends)


def test_a_node_behind_nat_is_reached_from_outside(lab: Lab) -> None:
    inside, gateway, outside, far = lab.hosts("inside gateway outside far")
    home, street, last = lab.link(inside, gateway), lab.link(gateway, outside), lab.link(outside, far)
    gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    gateway.run(
        "nft",
        "-f",
        "-",
        stdin=(
            "table ip nat {\n"
            f" chain post {{ type nat hook postrouting priority 100; oifname {street.device} masquerade; }}\n"
            " chain in { type filter hook forward priority 0;"
            f" iifname {street.device} ct state new drop; }}\n"
            "}\n"
        ),
    )
    inside.run("ip", "route", "add", "default", "via", home.address(gateway))
    public = Pineconed(outside).wait_ready()
    stranger = Pineconed(far, connect=[f"{last.address(outside)}:{PORT}"]).wait_ready()
    hidden = Pineconed(inside, connect=[f"{street.address(outside)}:{PORT}"]).wait_ready()
    for node in (public, stranger):
        took = wait_for_ping(node.host, hidden.address)
        print(f"{node.host.label} reaches the node behind NAT after {took:.1f} s")
    [row] = [row for row in public.peers() if row["public_key"] == hidden.public_key.hex()]
    assert (row["direction"], row["remote"].partition(":")[0]) == ("inbound", street.address(gateway))
