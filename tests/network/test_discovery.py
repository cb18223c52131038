# SPDX-License-Identifier: Apache-2.0
"""LAN discovery between real hosts on a segment, among them the reference, and with somebody who forges."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import pytest

from tests.network.lab import Lab, Namespace, wait_until
from tests.network.nodes import GoRouter, Pineconed, seed_with_prefix
from tests.network.ping import wait_for_ping
from tests.network.segment import NETWORK, Beaconer, beacon, plug

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.patient,
    pytest.mark.timeout(200),
]

FOUND_WITHIN = 15.0
QUIET_SECONDS = 30.0
STRANGER = b"\xfe" * 32
"""A key above that of every node here, so that each of them is the one to dial."""


def start(host: Namespace, configuration: str = "", **options: Any) -> Pineconed:
    """A node that listens nowhere but for its neighbours."""
    return Pineconed(
        host, listen=(), tun="none", options=["--multicast"], configuration=configuration, **options
    )


def start_all(hosts: Sequence[Namespace]) -> list[Pineconed]:
    return [node.wait_ready() for node in [start(host) for host in hosts]]


def found(node: Pineconed) -> Counter[str]:
    """How many peerings that work there are to each key; all of them came about by multicast."""
    rows = [peer for peer in node.peers() if peer["announced"]]
    assert {peer["type"] for peer in rows} <= {"multicast"}
    return Counter(peer["public_key"] for peer in rows)


def others(node: Pineconed, nodes: Sequence[Pineconed]) -> Counter[str]:
    return Counter(other.public_key.hex() for other in nodes if other is not node)


def wait_for_each_other(nodes: Sequence[Pineconed], timeout: float = FOUND_WITHIN) -> float:
    """Wait until each has exactly one peering to each other one; seconds it took."""
    return wait_until(
        lambda: all(found(node) == others(node, nodes) for node in nodes),
        timeout,
        lambda: f"one peering each: {[dict(found(node)) for node in nodes]}",
    )


def discovery(node: Pineconed) -> dict[str, Any]:
    result: dict[str, Any] = node.ctl("discovery")
    return result


def count(node: Pineconed, counter: str) -> int:
    number: int = discovery(node)["counters"].get(counter, 0)
    return number


def links(node: Pineconed) -> list[tuple[int, str]]:
    """What changes whenever a peering ends and comes back."""
    return sorted((peer["port"], peer["remote"]) for peer in node.peers())


class TestTheyFindEachOther:
    @pytest.mark.parametrize("versions", ["46", "4", "6"])
    @pytest.mark.parametrize("many", [2, 5])
    def test_one_peering_each_and_nothing_after_it(self, lab: Lab, versions: str, many: int) -> None:
        hosts = [lab.host(f"h{number}") for number in range(many)]
        plug(lab, hosts, versions)
        nodes = start_all(hosts)
        print(f"{many} nodes, IPv{versions}: {wait_for_each_other(nodes):.1f} s")
        before = [links(node) for node in nodes]
        dials = [count(node, "dials") for node in nodes]
        time.sleep(8)
        assert [links(node) for node in nodes] == before
        assert [count(node, "dials") for node in nodes] == dials
        assert sum(dials) == many * (many - 1) // 2
        assert all(node.disconnects() == [] for node in nodes)
        assert {peer["zone"] for node in nodes for peer in node.peers()} == {"eth0"}

    @pytest.mark.reference
    @pytest.mark.parametrize("versions", ["46", "4", "6"])
    @pytest.mark.parametrize("rank", ["01", "fe"])
    def test_a_reference_node_among_them(self, lab: Lab, pinecone_go: str, versions: str, rank: str) -> None:
        """It keeps one peering in each of its zones, and nobody dials again at every beacon."""
        hosts = lab.hosts("h0 h1 h2 h3 go")
        plug(lab, hosts, versions)
        go = GoRouter(hosts[4], seed=seed_with_prefix(rank)).wait_ready()
        nodes = start_all(hosts[:4])
        key = go.public_key.hex()

        def settled() -> bool:
            rows = [found(node) for node in nodes]
            ours = all(
                Counter({k: n for k, n in row.items() if k != key}) == others(node, nodes)
                for node, row in zip(nodes, rows, strict=True)
            )
            return ours and all(1 <= row[key] <= len(versions) for row in rows)

        took = wait_until(settled, FOUND_WITHIN, lambda: f"{[dict(found(node)) for node in nodes]}")
        time.sleep(3)
        before, dials = [links(node) for node in nodes], [count(node, "dials") for node in nodes]
        came = len(re.findall("^Connected to peer", go.process.text(), re.MULTILINE))
        time.sleep(QUIET_SECONDS if versions == "46" else 8)
        print(f"reference {rank}, IPv{versions}: {took:.1f} s; it has {len(go.ports())} peerings")
        assert [links(node) for node in nodes] == before
        assert [count(node, "dials") for node in nodes] == dials
        assert len(re.findall("^Connected to peer", go.process.text(), re.MULTILINE)) == came
        assert settled()

    @pytest.mark.reference
    @pytest.mark.parametrize("versions", ["4", "6"])
    @pytest.mark.parametrize(("off", "direction"), [("listen", "inbound"), ("beacon", "outbound")])
    def test_a_reference_node_dials_us_and_is_dialled(
        self, lab: Lab, pinecone_go: str, versions: str, off: str, direction: str
    ) -> None:
        """Each way by itself; its key is the lower one, so that we wait before we dial it."""
        hosts = lab.hosts("ours go")
        plug(lab, hosts, versions)
        go = GoRouter(hosts[1], seed=seed_with_prefix("01")).wait_ready()
        ours = start(hosts[0], f"[multicast]\n{off} = false\n", seed=seed_with_prefix("80")).wait_ready()
        one = Counter([go.public_key.hex()])
        took = wait_until(lambda: found(ours) == one, FOUND_WITHIN, lambda: f"{ours.peers()}")
        print(f"{direction}, IPv{versions}: {took:.1f} s")
        assert [peer["direction"] for peer in ours.peers()] == [direction]

    def test_one_that_was_started_anew_is_found_again(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        nodes = start_all(hosts)
        wait_for_each_other(nodes)
        for node in nodes:
            node.process.restart()
            wait_until(lambda: [node.wait_ready() for node in nodes] != [], 20, "both again")
            print(f"found again after {wait_for_each_other(nodes):.1f} s")


class TestInterfaces:
    def test_one_that_comes_later_goes_and_comes_back(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        hosts[0].run("ip", "link", "set", "eth0", "down")
        nodes = start_all(hosts)
        assert found(nodes[0]) == Counter()
        for _ in range(2):
            hosts[0].run("ip", "link", "set", "eth0", "up")
            print(f"up: {wait_for_each_other(nodes):.1f} s")
            hosts[0].run("ip", "link", "set", "eth0", "down")
            print(f"down: {wait_until(lambda: not nodes[0].peers(), 3, 'the end of it'):.1f} s")
            wait_until(lambda: not nodes[1].peers(), 8, "the end of it on the other side")

    def test_a_new_address(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts, "4")
        nodes = start_all(hosts)
        wait_for_each_other(nodes)
        hosts[0].run("ip", "address", "add", f"{NETWORK}.77/24", "dev", "eth0")
        hosts[0].run("ip", "address", "del", f"{NETWORK}.1/24", "dev", "eth0")
        hosts[0].run("ip", "address", "replace", f"{NETWORK}.77/24", "dev", "eth0")
        took = wait_until(
            lambda: any(f"{NETWORK}.77:" in peer["remote"] for peer in nodes[1].peers()), 12, "the new one"
        )
        print(f"{took:.1f} s")
        wait_for_each_other(nodes)

    def test_two_segments_give_two_peerings(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        plug(lab, hosts, device="eth1", network="10.8.0")
        nodes = start_all(hosts)
        wait_until(
            lambda: all(sorted(peer["zone"] for peer in node.peers()) == ["eth0", "eth1"] for node in nodes),
            FOUND_WITHIN,
            "one peering on each",
        )

    def test_names_that_are_left_out(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1 h2")
        plug(lab, hosts, device="veth0")
        named = '[multicast]\ninclude = ["veth0"]\n'
        nodes = [start(hosts[0], named), start(hosts[1], named), start(hosts[2])]
        for node in nodes:
            node.wait_ready()
        wait_for_each_other(nodes[:2])
        assert nodes[2].peers() == []
        row = next(row for row in discovery(nodes[2])["interfaces"] if row["name"] == "veth0")
        assert not row["used"]
        assert row["reason"] == "its name is in multicast.exclude"

    def test_the_overlay_is_no_segment(self, lab: Lab) -> None:
        """Neither the nodes' own devices nor addresses of its range, even if every name is included."""
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        for number, host in enumerate(hosts, 1):
            host.run("ip", "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        named = '[multicast]\ninclude = ["*"]\nexclude = []\n'
        nodes = [
            Pineconed(host, (), options=["--multicast"], configuration=named).wait_ready() for host in hosts
        ]
        wait_for_each_other(nodes)
        wait_for_ping(hosts[0], nodes[1].address)
        time.sleep(5)
        assert [found(node) for node in nodes] == [others(node, nodes) for node in nodes]
        assert sum(count(node, "dials") for node in nodes) == 1
        rows = {row["name"]: row for row in discovery(nodes[1])["interfaces"]}
        assert not rows["pine0"]["used"]
        assert [address.partition(":")[0] for address in rows["eth0"]["addresses"]] == [
            "fe80",
            f"{NETWORK}.2",
        ]
        port = int(re.findall(r":(\d+)\s", hosts[1].run("ss", "-ltnH"))[0])
        for address in (nodes[1].address, "fd77::2"):
            with suppress(ConnectionResetError), hosts[0].connect(address, port) as call:
                call.settimeout(3)
                assert call.recv(104) == b""
        assert count(nodes[1], "calls_refused") == 2

    def test_a_reload_leaves_an_interface_and_comes_back(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        nodes = start_all(hosts)
        wait_for_each_other(nodes)
        for excluded, peers in (("eth0", 0), ("nothing0", 1)):
            (nodes[0].directory / "pineconed.toml").write_text(f'[multicast]\nexclude = ["{excluded}"]\n')
            assert nodes[0].ctl("reload")["failed"] == []
            for node in nodes:
                node.wait_peers(peers)

    def test_one_that_only_listens_and_one_that_only_tells(self, lab: Lab) -> None:
        hosts = lab.hosts("h0 h1")
        plug(lab, hosts)
        for low in (0, 1):
            seeds = [seed_with_prefix("20" if number == low else "80", low) for number in (0, 1)]
            nodes = [
                start(hosts[0], "[multicast]\nbeacon = false\n", seed=seeds[0]),
                start(hosts[1], "[multicast]\nlisten = false\n", seed=seeds[1]),
            ]
            for node in nodes:
                node.wait_ready()
            wait_for_each_other(nodes)
            assert [peer["direction"] for peer in nodes[0].peers()] == ["outbound"]
            for node in nodes:
                node.process.stop()


Scene = tuple[list[Pineconed], Beaconer, Namespace]


class TestForgers:
    @pytest.fixture
    def scene(self, lab: Lab) -> Iterator[Scene]:
        """Two nodes that are peers, somebody who sends beacons, and the host of that."""
        hosts = lab.hosts("h0 h1 bad")
        plug(lab, hosts, "4")
        nodes = start_all(hosts[:2])
        wait_for_each_other(nodes)
        with closing(Beaconer(hosts[2], f"{NETWORK}.3")) as bad:
            yield nodes, bad, hosts[2]

    def test_what_is_no_beacon(self, scene: Scene) -> None:
        nodes, bad, _ = scene
        before = [links(node) for node in nodes]
        target = nodes[0]
        for datagram in (
            b"",
            b"x",
            STRANGER,
            b"\xff" * 33,
            beacon(STRANGER, 0),
            beacon(target.public_key, 7),
        ):
            bad.send(datagram)
        bad.send_as("192.0.2.9", beacon(STRANGER, 7))
        bad.send_as("127.0.0.1", beacon(STRANGER, 7))
        wait_until(lambda: count(target, "beacons_too_short") == 4, 5, "short ones")
        assert count(target, "beacons_without_port") == 1
        assert count(target, "beacons_of_own_key_elsewhere") == 1
        assert count(target, "beacons_from_off_link") >= 1
        assert [links(node) for node in nodes] == before
        assert "uses this node's key" in target.process.text()

    def test_another_key_and_a_port_of_something_else(self, scene: Scene) -> None:
        """A node of ours answers with its own key, and something that is no node with its own words."""
        nodes, bad, place = scene
        target = nodes[0]
        other = Pineconed(place, tun="none", seed=seed_with_prefix("05")).wait_ready()
        for _ in range(5):
            bad.send(beacon(STRANGER, 7000))
            time.sleep(0.5)
        wait_until(lambda: count(target, "dials_failed") >= 1, 5, "a refusal")
        assert other.public_key.hex() not in found(target)
        assert STRANGER.hex() not in found(target)
        assert "another node answered" in target.process.text()
        failed = count(target, "dials_failed")
        with place.open_socket() as listener:
            listener.bind((f"{NETWORK}.3", 2222))
            listener.listen()
            listener.settimeout(10)
            bad.send(beacon(STRANGER, 2222))
            taken, _ = listener.accept()
            with taken:
                taken.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n" * 10)
                wait_until(lambda: count(target, "dials_failed") > failed, 12, "the end of that")

    def test_nobody_can_have_us_pester_a_third_party(self, lab: Lab) -> None:
        """Beacons in a victim's name, each with another key and port, ten a second."""
        hosts = lab.hosts("h0 victim bad")
        plug(lab, hosts, "4")
        node = start(hosts[0]).wait_ready()
        taken = 0
        with closing(Beaconer(hosts[2], f"{NETWORK}.3")) as bad, hosts[1].open_socket() as listener:
            listener.bind((f"{NETWORK}.2", 80))
            listener.listen(100)
            listener.settimeout(0.1)
            began = time.monotonic()
            while time.monotonic() - began < 15:
                bad.send_as(f"{NETWORK}.2", beacon(b"\xff" + os.urandom(31), 80))
                with suppress(TimeoutError):
                    listener.accept()[0].close()
                    taken += 1
        print(f"{taken} connections in 15 s")
        assert 1 <= taken <= 3 + 15 / 5 + 1
        assert count(node, "dials") == taken

    def test_a_flood_of_invented_keys(self, lab: Lab, scene: Scene) -> None:
        """Ten thousand a second cost a bounded part of a processor and no memory; a newcomer is found."""
        nodes, bad, _ = scene
        target = nodes[0]
        late = lab.host("late")
        bridge = next(host for host in lab.namespaces if host.label == "bridge")
        late_wire = ["ip", "link", "add", "eth0", "netns", late.name, "type", "veth"]
        bridge.run(*late_wire, "peer", "p9", "netns", bridge.name)
        bridge.run("ip", "link", "set", "p9", "master", "br0", "up")
        late.run("ip", "address", "add", f"{NETWORK}.9/24", "dev", "eth0")
        late.run("ip", "link", "set", "eth0", "addrgenmode", "none", "up")
        before, memory, used = links(target), target.process.memory_bytes(), target.process.cpu_seconds()
        sent, seconds = flood(bad, 10.0)
        used, memory = target.process.cpu_seconds() - used, target.process.memory_bytes() - memory
        counters = discovery(target)["counters"]
        print(f"{sent / seconds:,.0f} beacons/s: {used / seconds:.0%} of a processor, {memory / 1e6:+.1f} MB")
        print(counters)
        assert sent > 20_000
        assert used / seconds < 0.35
        assert memory < 4_000_000
        assert counters["dials"] <= 1 + 3 + 2 * (seconds + 5) / 5
        assert links(target) == before
        newcomer = start(late, seed=seed_with_prefix("fd")).wait_ready()
        took = wait_until(
            lambda: flood(bad, 0.5)[0] > 0 and newcomer.public_key.hex() in found(target), 60, "the newcomer"
        )
        print(f"a newcomer was found after {took:.1f} s of it")


def flood(bad: Beaconer, seconds: float) -> tuple[int, float]:
    """About 10,000 beacons a second with invented keys; how many, and how long it took."""
    sent, began = 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        while sent < elapsed * 10_000:
            bad.send(beacon(b"\xff" + os.urandom(31), 7))
            sent += 1
        time.sleep(0.002)
    return sent, time.monotonic() - began


@pytest.mark.parametrize(
    ("caller", "address", "taken"), [("h0", "127.0.0.1", False), ("h1", f"{NETWORK}.1", True)]
)
def test_the_listener_takes_calls_from_its_segments_only(
    lab: Lab, caller: str, address: str, taken: bool
) -> None:
    hosts = lab.hosts("h0 h1")
    plug(lab, hosts, "4")
    node = start(hosts[0]).wait_ready()
    port = int(re.findall(r":(\d+)\s", hosts[0].run("ss", "-ltnH"))[0])
    answer = b""
    with suppress(ConnectionResetError):
        place = next(host for host in hosts if host.label == caller)
        with place.connect(address, port) as call:
            call.settimeout(3)
            answer = call.recv(104)
    assert (len(answer) == 104) is taken
    assert count(node, "calls_refused") == (not taken)
    assert ("it came by no network" in node.process.text()) is not taken
