# SPDX-License-Identifier: Apache-2.0
"""Peerings over WebSockets, Unix sockets and proxies between real daemons, and beside the reference."""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pineconed.signing import Ed25519Signer
from pineconed.transport.gate import DAWDLING
from pineconed.wire.handshake import encode_handshake
from tests.network.conftest import reference, require_lab
from tests.network.iperf import throughput
from tests.network.lab import Lab, Namespace, wait_until
from tests.network.nodes import PORT, GoRouter, Pineconed, seed_with_prefix
from tests.network.ping import PingStream, assert_pings_both_ways, wait_for_ping
from tests.network.tree import wait_for_tree
from tests.unit.transport import proxies
from tests.unit.transport.websocket.front import Files, certificates

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.patient,
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates(tmp_path_factory.mktemp("tls"), "10.77.1.2", "node.example")


def peering(node: Pineconed) -> dict[str, Any]:
    """The row of the only peering."""
    [row] = node.peers()
    return row


@pytest.mark.parametrize("scheme", ["ws", "wss", "unix"])
def test_two_of_ours(lab: Lab, scheme: str, files: Files) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    listen, connect = {
        "ws": (f"ws://0.0.0.0:{PORT}", f"ws://{link.address(b)}:{PORT}/a/path"),
        "wss": (files.listen(f"0.0.0.0:{PORT}"), f"wss://{link.address(b)}:{PORT}/?ca={files.ca}"),
        "unix": (f"unix://{lab.directory}/b.sock", f"unix://{lab.directory}/b.sock"),
    }[scheme]
    right = Pineconed(b, [listen]).wait_ready()
    left = Pineconed(a, [], [connect]).wait_ready()
    assert_pings_both_ways(left, right)
    out, inward = peering(left), peering(right)
    kind = "pipe" if scheme == "unix" else "remote"
    assert (out["uri"], out["type"], out["zone"]) == (connect.partition("?")[0], kind, "static")
    assert inward["uri"].startswith(f"{scheme}://")
    assert (inward["type"], inward["zone"]) == (kind, "" if scheme == "unix" else "websocket")
    assert (out["rtt_seconds"] is None) == (scheme == "unix")
    assert left.process.stop() == 0
    wait_until(lambda: right.peers() == [], 2, "the other side to notice")
    assert right.process.stop() == 0
    assert not (lab.directory / "b.sock").exists()


def test_a_ping_passes_a_bulk_transfer_over_ws(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    link.limit(100)
    right = Pineconed(b, [f"ws://0.0.0.0:{PORT}"]).wait_ready()
    left = Pineconed(a, [], [f"ws://{link.address(b)}:{PORT}"]).wait_ready()
    wait_for_ping(a, right.address)
    with PingStream(a, right.address, interval=0.05) as stream:
        throughput(a, b, right.address, seconds=6)
        result = stream.stop()
    print(f"on 100 Mbit/s, beside a bulk transfer: {result}")
    assert result.loss <= 0.02
    assert result.median < 60
    assert left.disconnects() == []


# ---------------------------------------------------------------- the reference


@pytest.fixture
def go() -> None:
    reference("PINECONE_GO")


@pytest.mark.reference
@pytest.mark.parametrize(("dialler", "scheme"), [("ours", "ws"), ("reference", "ws"), ("reference", "wss")])
def test_ours_reference_ours(lab: Lab, dialler: str, scheme: str, tmp_path: Path, go: None) -> None:
    """Large frames cross a reference node that dialled both of us, or that we dialled, which has no wss."""
    a, middle, b = lab.hosts("ours0 go1 ours2")
    links = [lab.link(a, middle), lab.link(middle, b)]
    seeds = [seed_with_prefix(prefix) for prefix in ("40", "f0", "80")]
    if dialler == "ours":
        router = GoRouter(middle, seed=seeds[1], web_address="0.0.0.0").wait_ready()
        uris = [f"ws://{link.address(middle)}:{GoRouter.DIAGNOSTICS}" for link in links]
        ends = [
            Pineconed(host, [], [uri], seed=seed).wait_ready()
            for host, uri, seed in ((a, uris[0], seeds[0]), (b, uris[1], seeds[2]))
        ]
    else:
        addresses = [link.address(host) for link, host in zip(links, (a, b), strict=True)]
        made = certificates(tmp_path / "tls", *addresses)
        listen = made.listen(f"0.0.0.0:{PORT}") if scheme == "wss" else f"ws://0.0.0.0:{PORT}"
        ends = [
            Pineconed(host, [listen], seed=seed).wait_ready() for host, seed in ((a, seeds[0]), (b, seeds[2]))
        ]
        uris = [f"{scheme}://{address}:{PORT}/peer" for address in addresses]
        trust = {"SSL_CERT_FILE": str(made.ca), "NO_PROXY": "*"}
        router = GoRouter(middle, uris, seed=seeds[1], environment=trust).wait_ready()
    wait_for_tree([ends[0], router, ends[1]], 40)
    assert_pings_both_ways(ends[0], ends[1])
    for end in ends:
        [session] = end.ctl("sessions")["sessions"]
        assert session["state"] == "up"
        assert end.disconnects() == []


# ---------------------------------------------------------------- certificates


@pytest.mark.parametrize("kind", ["expired", "wrong host", "self-signed"])
def test_a_wrong_certificate_is_told_in_log_and_peers(lab: Lab, tmp_path: Path, kind: str) -> None:
    a, b = lab.hosts("a b")
    address = lab.link(a, b).address(b)
    day = timedelta(days=1)
    now = datetime.now(UTC)
    name = "other.example" if kind == "wrong host" else address
    dates = (now - 9 * day, now - day) if kind == "expired" else (None, None)
    made = certificates(tmp_path / "tls", name, not_before=dates[0], not_after=dates[1])
    ca = "" if kind == "self-signed" else f"?ca={made.ca}"
    words = {
        "expired": "it has expired",
        "wrong host": "it is for another host",
        "self-signed": "no authority that this machine trusts",
    }[kind]
    right = Pineconed(b, [made.listen(f"0.0.0.0:{PORT}")], tun="none").wait_ready()
    left = Pineconed(a, [], [f"wss://{address}:{PORT}/{ca}"], tun="none").wait_ready()
    left.process.wait_for(f"cannot connect.*the certificate of {address} is refused: {words}")
    assert words in peering(left)["last_error"]
    assert sum(words in line for line in left.process.text().splitlines()) == 1
    right.process.wait_for("perhaps it does not trust our certificate")
    assert right.status()["peers"] == 0


@pytest.mark.parametrize(
    ("query", "words", "code"),
    [
        ("", "wss needs a certificate", 2),
        ("?cert=/no/cert.pem", "cannot read /no/cert.pem", 1),
    ],
)
def test_a_listener_without_its_files_does_not_start(lab: Lab, query: str, words: str, code: int) -> None:
    node = Pineconed(lab.host("a"), [f"wss://0.0.0.0:{PORT}{query}"], tun="none")
    assert node.process.wait(10) == code
    assert words in node.process.text()
    assert "Traceback" not in node.process.text()


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize("kind", ["socks5", "http"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
def test_through_a_proxy(lab: Lab, kind: str, scheme: str, files: Files) -> None:
    a, middle, b = lab.hosts("a proxy b")
    near, far = lab.link(a, middle), lab.link(middle, b)
    proxy = middle.start("proxy", sys.executable, proxies.__file__, kind, "0.0.0.0", "1080")
    proxy.wait_for("ready")
    listen = files.listen(f"0.0.0.0:{PORT}") if scheme == "wss" else f"{scheme}://0.0.0.0:{PORT}"
    right = Pineconed(b, [listen]).wait_ready()
    query = f"?proxy={kind}://{near.address(middle)}:1080"
    query += f"&ca={files.ca}&sni=node.example" if scheme == "wss" else ""
    left = Pineconed(a, [], [f"{scheme}://{far.address(b)}:{PORT}{query}"]).wait_ready()
    assert_pings_both_ways(left, right)
    proxy.kill()
    wait_until(lambda: peering(left)["last_error"] is not None, 20, "the proxy's failure")
    left.process.wait_for(rf"cannot connect.*proxy {kind}://{near.address(middle)}:1080: .*refused", 20)


# ---------------------------------------------------------------- interfaces


@pytest.mark.parametrize("kind", ["tcp", "tls", "ws", "wss", "proxy"])
def test_the_interface_in_the_uri_is_the_way_out(lab: Lab, kind: str, files: Files) -> None:
    """Of two ways to the same address the routes prefer the other one."""
    a, b = lab.hosts("a b")
    preferred, named = lab.link(a, b), lab.link(a, b)
    b.run("ip", "address", "add", f"{SHARED}/32", "dev", "lo")
    for metric, link in enumerate((preferred, named), 1):
        a.run("ip", "route", "add", SHARED, "via", link.address(b), "metric", str(metric))
    scheme, query = (kind, "") if kind != "proxy" else ("tcp", f"proxy=socks5://{SHARED}:1080&")
    if kind == "proxy":
        b.start("proxy", sys.executable, proxies.__file__, "socks5", "0.0.0.0", "1080").wait_for("ready")
    query += f"ca={files.ca}&sni=node.example&" if kind == "wss" else ""
    listen = files.listen(f"0.0.0.0:{PORT}") if kind == "wss" else f"{scheme}://0.0.0.0:{PORT}"
    right = Pineconed(b, [listen], tun="none").wait_ready()
    uri = f"{scheme}://{SHARED}:{PORT}?{query}interface={named.device}"
    left = Pineconed(a, [], [uri], tun="none").wait_ready()
    left.wait_peers(1)
    assert right.status()["peers"] == 1
    assert connections(a) == {named.address(a)}


SHARED = "192.0.2.1"


def connections(host: Namespace) -> set[str]:
    """The addresses from which this host has connections to the one that both ways lead to."""
    found = host.run("ss", "-Htn", "state", "established", "dst", SHARED)
    return {line.split()[2].rpartition(":")[0].partition("%")[0] for line in found.splitlines()}


# ---------------------------------------------------------------- crowds


@dataclass(frozen=True)
class Gatehouse:
    """A node with listeners that prove nothing before the handshake, and a host with many addresses."""

    node: Pineconed
    crowd: Namespace
    target: str
    lab: Lab

    def uri(self, scheme: str, address: str) -> str:
        """Where a guest dials who reaches the node at this address."""
        if scheme == "unix":
            return f"unix://{self.lab.directory}/node.sock"
        query = f"/?ca={self.lab.directory}/tls/ca.pem&sni={self.target}" if scheme == "wss" else ""
        return f"{scheme}://{address}:{PORTS[scheme]}{query}"


PORTS = {"ws": PORT, "wss": PORT + 1, "tcp": PORT + 2}

BEGINNINGS = {
    "ws": b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    "wss": b"\x16\x03\x01\x02\x00",
    "tcp": encode_handshake(Ed25519Signer(bytes(32)))[:50],
    "unix": encode_handshake(Ed25519Signer(bytes(32)))[:50],
}
"""What somebody says who never comes to the point."""

BEGINS = pytest.mark.parametrize("begins", [False, True], ids=["silent", "slow"])


@pytest.fixture(scope="module")
def gatehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatehouse]:
    require_lab()
    with Lab(tmp_path_factory.mktemp("gatehouse")) as lab:
        node, crowd = lab.hosts("node crowd")
        link = lab.link(crowd, node)
        for number in range(200):
            crowd.run("ip", "address", "add", f"10.77.{link.number}.{10 + number}/24", "dev", link.device)
        made = certificates(lab.directory / "tls", link.address(node))
        listen = [f"{scheme}://0.0.0.0:{PORTS[scheme]}" for scheme in ("ws", "tcp")]
        listen += [made.listen(f"0.0.0.0:{PORTS['wss']}"), f"unix://{lab.directory}/node.sock"]
        daemon = Pineconed(node, listen, tun="none", seed=seed_with_prefix("80")).wait_ready()
        yield Gatehouse(daemon, crowd, link.address(node), lab)


@BEGINS
@pytest.mark.parametrize("sources", [1, 200])
@pytest.mark.parametrize("scheme", list(PORTS))
def test_others_peer_beside_a_thousand_idle_connections(
    gatehouse: Gatehouse, scheme: str, sources: int, begins: bool
) -> None:
    """Within a second; when they come from more addresses than there is room for, once these have dawdled."""
    prefix = gatehouse.target.rpartition(".")[0]
    with ExitStack() as idle:
        connections = [idle.enter_context(gatehouse.crowd.open_socket()) for _ in range(1000)]
        for number, connection in enumerate(connections):
            connection.bind((f"{prefix}.{10 + number % sources}", 0))
            connection.setblocking(False)
            connection.connect_ex((gatehouse.target, PORTS[scheme]))
        time.sleep(0.2)
        say(connections, BEGINNINGS[scheme] if begins else b"")
        time.sleep(DAWDLING if sources > 1 else 0)
        assert_a_guest_peers(gatehouse, scheme)


@BEGINS
def test_others_peer_beside_a_thousand_idle_connections_by_a_unix_socket(
    gatehouse: Gatehouse, begins: bool
) -> None:
    """Within a second, once these have dawdled: all that come by such a socket count as one source."""
    with ExitStack() as idle:
        connections = [idle.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(1000)]
        for connection in connections:
            connection.connect(f"{gatehouse.lab.directory}/node.sock")
        say(connections, BEGINNINGS["unix"] if begins else b"")
        time.sleep(DAWDLING)
        assert_a_guest_peers(gatehouse, "unix")


def say(connections: Sequence[socket.socket], text: bytes) -> None:
    """On each, as far as it is still open."""
    for connection in connections if text else ():
        with suppress(OSError):
            connection.send(text)


def assert_a_guest_peers(gatehouse: Gatehouse, scheme: str) -> None:
    """A newcomer is up within a second, and the node holds no more than it should."""
    node = gatehouse.node
    guest = gatehouse.lab.host("guest")
    uri = gatehouse.uri(scheme, gatehouse.lab.link(guest, node.host).address(node.host))
    with running(Pineconed(guest, [], [uri], tun="none").wait_ready()) as dialler:
        dialler.process.wait_for("peering up", 15)
        took = logged_at(dialler, "peering up") - logged_at(dialler, "pineconed is ready")
        status, files = node.status(), node.process.open_files()
        memory = node.process.memory_bytes() / 1e6
        print(f"up after {took:.2f} s; {files} open files, {memory:.0f} MB")
        assert took < 1
        assert status["peers"] == 1
        assert files < 300
    wait_until(lambda: node.status()["peers"] == 0, 10, "the guest to be gone")


@contextmanager
def running(node: Pineconed) -> Iterator[Pineconed]:
    """Stop the node at the end."""
    try:
        yield node
    finally:
        node.process.stop()


def logged_at(node: Pineconed, text: str) -> float:
    """When the node logged this for the first time, in Unix seconds."""
    stamp = node.process.wait_for(rf"^(\S+) .*{text}")[1]
    return datetime.fromisoformat(stamp).timestamp()
