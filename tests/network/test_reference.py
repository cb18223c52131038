# SPDX-License-Identifier: Apache-2.0
"""Side by side with the reference's programs, in every position and with each side dialling.

All networks of this file are built at once and live next to each other, so that one wait of three minutes
serves them all. They follow the same root, their tree coordinates are right, and no peering ends.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.network.bursts import send_burst
from tests.network.conftest import reference, require_lab
from tests.network.iperf import throughput
from tests.network.lab import Lab, Link, Namespace, wait_until
from tests.network.nodes import PORT, GoIp, GoRouter, Pineconed, in_clear, seed_with_prefix
from tests.network.ping import assert_pings_both_ways, wait_for_ping
from tests.network.tree import objections, wait_for_tree

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.reference,
    pytest.mark.timeout(400),
]

QUIET_SECONDS = 180.0

Router = Pineconed | GoRouter
End = Pineconed | GoIp


@dataclass
class World:
    """All networks of this file; `lines` and `pairs` by who dials."""

    lab: Lab
    ours_go_ours: dict[str, list[Router]] = field(default_factory=dict)
    go_ours_go: dict[str, list[Router]] = field(default_factory=dict)
    ip_ours_ip: dict[str, tuple[GoIp, Pineconed, GoIp]] = field(default_factory=dict)
    pairs: dict[str, tuple[Pineconed, GoIp]] = field(default_factory=dict)
    ring: list[Router] = field(default_factory=list)
    star: list[Router] = field(default_factory=list)

    def everybody(self) -> list[Pineconed | GoRouter | GoIp]:
        """List every node of every network."""
        found: list[Pineconed | GoRouter | GoIp] = [*self.ring, *self.star]
        for line in (*self.ours_go_ours.values(), *self.go_ours_go.values()):
            found += line
        for few in (*self.ip_ours_ip.values(), *self.pairs.values()):
            found += few
        return found


def uri(link: Link, of: Namespace) -> str:
    return f"{link.address(of)}:{PORT}"


def router(kind: str, host: Namespace, connect: list[str], seed: bytes | None = None) -> Router:
    """Start `ours` (with a TUN device) or the reference's router."""
    if kind == "ours":
        return Pineconed(host, connect=connect, seed=seed).wait_ready()
    return GoRouter(host, connect=connect, seed=seed).wait_ready()


def line_of(lab: Lab, kinds: list[str], middle_dials: bool, ranks: list[str]) -> list[Router]:
    """Three nodes in a row, keys beginning with `ranks`; the middle dials both ends or both dial it."""
    hosts = lab.hosts(" ".join(f"{kind}{number}" for number, kind in enumerate(kinds)))
    links = [lab.link(hosts[0], hosts[1]), lab.link(hosts[1], hosts[2])]
    seeds = [seed_with_prefix(rank, number) for number, rank in enumerate(ranks)]
    if middle_dials:
        ends = [router(kinds[at], hosts[at], [], seeds[at]) for at in (0, 2)]
        targets = [uri(links[0], hosts[0]), uri(links[1], hosts[2])]
        return [ends[0], router(kinds[1], hosts[1], targets, seeds[1]), ends[1]]
    middle = router(kinds[1], hosts[1], [], seeds[1])
    ends = [
        router(kinds[at], hosts[at], [uri(link, hosts[1])], seeds[at])
        for at, link in zip((0, 2), links, strict=True)
    ]
    return [ends[0], middle, ends[1]]


def ip_line(lab: Lab, middle_dials: bool) -> tuple[GoIp, Pineconed, GoIp]:
    """Start `pineconeip`, our router without a device, `pineconeip`."""
    a, b, c = lab.hosts("ip0 ours1 ip2")
    links = [lab.link(a, b), lab.link(b, c)]
    if middle_dials:
        left, right = GoIp(a).wait_ready(), GoIp(c).wait_ready()
        targets = [uri(links[0], a), uri(links[1], c)]
        return left, Pineconed(b, connect=targets, tun="none").wait_ready(), right
    middle = Pineconed(b, tun="none").wait_ready()
    left = GoIp(a, connect=uri(links[0], b)).wait_ready()
    return left, middle, GoIp(c, connect=uri(links[1], b)).wait_ready()


def pair(lab: Lab, ours_dials: bool) -> tuple[Pineconed, GoIp]:
    """Ours, which lists the other as one without sessions, and `pineconeip`.

    It makes a new key at every start, so it comes first; when it dials, it tries again until ours listens.
    """
    a, b = lab.hosts("ours0 ip1")
    link = lab.link(a, b)
    ip = GoIp(b, connect="" if ours_dials else uri(link, a)).wait_ready()
    connect = [uri(link, b)] if ours_dials else []
    return Pineconed(a, connect=connect, configuration=in_clear(ip.address)).wait_ready(), ip


def mixed_ring(lab: Lab) -> list[Router]:
    """Six nodes in a circle, ours and the reference's in turn, each dialling the next."""
    hosts = lab.hosts("r0 r1 r2 r3 r4 r5")
    links = [lab.link(hosts[at], hosts[(at + 1) % 6]) for at in range(6)]
    made = {}
    for at in (5, 4, 3, 2, 1, 0):
        kind = "ours" if at % 2 == 0 else "go"
        made[at] = router(kind, hosts[at], [uri(links[at], hosts[(at + 1) % 6])])
    return [made[at] for at in range(6)]


def star_of(lab: Lab) -> list[Router]:
    """The reference's router and four of ours that dial it; it comes first."""
    hosts = lab.hosts("centre s1 s2 s3 s4")
    links = [lab.link(hosts[0], host) for host in hosts[1:]]
    centre = router("go", hosts[0], [])
    return [centre, *(router("ours", link.b, [uri(link, hosts[0])]) for link in links)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Build every network; the roots sit now at an end, now in the middle."""
    reference("PINECONE_GO")
    reference("PINECONEIP_GO")
    require_lab()
    with Lab(tmp_path_factory.mktemp("reference")) as lab:
        made = World(lab, ring=mixed_ring(lab), star=star_of(lab))
        ours, go = ["ours", "go", "ours"], ["go", "ours", "go"]
        made.ours_go_ours["ours"] = line_of(lab, ours, middle_dials=False, ranks=["fe", "80", "10"])
        made.ours_go_ours["reference"] = line_of(lab, ours, middle_dials=True, ranks=["10", "fe", "80"])
        made.go_ours_go["ours"] = line_of(lab, go, middle_dials=True, ranks=["fe", "80", "10"])
        made.go_ours_go["reference"] = line_of(lab, go, middle_dials=False, ranks=["10", "fe", "80"])
        for dialler in ("ours", "reference"):
            made.ip_ours_ip[dialler] = ip_line(lab, middle_dials=dialler == "ours")
            made.pairs[dialler] = pair(lab, ours_dials=dialler == "ours")
        yield made


DIALLERS = pytest.mark.parametrize("dialler", ["ours", "reference"])


def session_states(node: Pineconed) -> list[str]:
    """How each peer is reached, as `pineconectl sessions` says."""
    return [session["state"] for session in node.ctl("sessions")["sessions"]]


@DIALLERS
def test_ours_go_ours(world: World, dialler: str) -> None:
    line = world.ours_go_ours[dialler]
    wait_for_tree(line)
    left, right = line[0], line[2]
    assert isinstance(left, Pineconed)
    assert isinstance(right, Pineconed)
    assert_pings_both_ways(left, right)
    assert session_states(left) == session_states(right) == ["up"]


@DIALLERS
def test_go_ours_go_form_one_tree(world: World, dialler: str) -> None:
    wait_for_tree(world.go_ours_go[dialler])


@DIALLERS
def test_reference_hosts_ping_through_us(world: World, dialler: str) -> None:
    left, _, right = world.ip_ours_ip[dialler]
    assert_pings_both_ways(left, right)


@DIALLERS
def test_ours_and_a_reference_host(world: World, dialler: str) -> None:
    ours, ip = world.pairs[dialler]
    assert_pings_both_ways(ours, ip)
    for reverse in (False, True):
        rate = throughput(ours.host, ip.host, ip.address, seconds=10, reverse=reverse)
        print(f"{'from' if reverse else 'to'} pineconeip, {dialler} dialling: {rate / 1e6:.0f} Mbit/s")
        assert rate > 50e6
    assert session_states(ours) == ["bare"]


def test_mixed_ring_of_six(world: World) -> None:
    wait_until(lambda: all(node.place().peers == 2 for node in world.ring), 90, "the ring to close")
    took = wait_for_tree(world.ring, 60)
    owner = "ours" if root_is_ours(world) else "the reference's"
    print(f"one tree {took:.1f} s after it closed; the root is {owner}")
    for at in (0, 2, 4):
        left, right = world.ring[at], world.ring[(at + 2) % 6]
        assert isinstance(left, Pineconed)
        assert isinstance(right, Pineconed)
        assert_pings_both_ways(left, right)


def root_is_ours(world: World) -> bool:
    return isinstance(max(world.ring, key=lambda node: node.public_key), Pineconed)


@pytest.mark.parametrize(("target", "packet_size"), [(1, 64), (2, 1280)])
def test_all_that_wait_arrive_through_a_loaded_reference_node(
    world: World, target: int, packet_size: int
) -> None:
    """The bulk stream goes where the packets go, too, so that they share every queue of the node between."""
    wait_for_tree(world.star)
    _, *ours = world.star
    first, second, source, busy = (node for node in ours if isinstance(node, Pineconed))
    end = (first, second)[target - 1]
    wait_for_ping(busy.host, end.address)
    load = threading.Thread(target=throughput, args=(busy.host, end.host, end.address, 6))
    load.start()
    time.sleep(2)
    burst = send_burst(source.host, end, 64, packet_size, timeout=15)
    load.join(30)
    print(f"{packet_size} bytes each, beside a bulk stream: {burst}")
    assert burst.numbers == list(range(64))


def test_no_peering_ends_in_three_minutes(world: World) -> None:
    wait_until(lambda: not unsettled(world), 60, lambda: f"settled trees: {unsettled(world)}")
    before = {id(node): len(node.disconnects()) for node in world.everybody()}
    print(f"peerings that ended while the networks formed or were tested: {sum(before.values())}")
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(20.0, max(0.0, deadline - time.monotonic())))
        assert not unsettled(world)
    ended = [line for node in world.everybody() for line in node.disconnects()[before[id(node)] :]]
    print(f"peerings that ended in {QUIET_SECONDS:.0f} s: {len(ended)}")
    assert ended == []


def unsettled(world: World) -> list[str]:
    """Say what is wrong with any tree of any network."""
    trees = [*world.ours_go_ours.values(), *world.go_ours_go.values(), world.ring, world.star]
    return [objection for tree in trees for objection in objections(tree)]
