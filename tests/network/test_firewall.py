# SPDX-License-Identifier: Apache-2.0
"""The firewall rules that come with pineconed, in the kernel: a stranger on the overlay, and a router."""

import contextlib
import errno
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.network.lab import Lab, LabError, Namespace, wait_until
from tests.network.nodes import PORT, Pineconed
from tests.network.ping import ping, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

RULES = Path(__file__).resolve().parents[2] / "packaging" / "nftables" / "firewall.nft"
FOLDER = "/etc/pineconed/firewall.d"
TCP_PORTS = (22, 80, 8000, 8022, 40000)
UDP_PORT = 8053
REMOVE = "add table inet pineconed; delete table inet pineconed"
"""As the unit's ExecStop."""


class Firewall:
    """The rules, as pineconed-firewall.service loads them, with a folder for additions of their own."""

    def __init__(self, host: Namespace) -> None:
        self._host = host
        self._folder = host.lab.directory / "firewall.d"
        self._folder.mkdir()
        self._file = host.lab.directory / "firewall.nft"
        text = RULES.read_text()
        assert FOLDER in text
        self._file.write_text(text.replace(FOLDER, str(self._folder)))
        self.load()

    def load(self) -> None:
        self._host.run("nft", "-f", str(self._file))

    def add(self, text: str) -> None:
        (self._folder / "local.nft").write_text(text)

    def remove(self) -> None:
        self._host.run("nft", REMOVE)


@dataclass
class Guarded:
    """Host a with the firewall and services, and the stranger b, both on the overlay."""

    firewall: Firewall
    a: Pineconed
    b: Pineconed
    udp: socket.socket


def listener(host: Namespace, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A service at every address of the host."""
    opened = host.open_socket(socket.AF_INET6, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        opened.listen()
    return opened


@pytest.fixture
def guarded(lab: Lab) -> Iterator[Guarded]:
    """The rules are there before the daemon starts, as at every boot."""
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    firewall = Firewall(a)
    with contextlib.ExitStack() as services:
        for port in TCP_PORTS:
            services.enter_context(listener(a, port))
        udp = services.enter_context(listener(a, UDP_PORT, socket.SOCK_DGRAM))
        right = Pineconed(b).wait_ready()
        left = Pineconed(a, connect=[f"{link.address(b)}:{PORT}"]).wait_ready()
        wait_for_ping(a, right.address)
        yield Guarded(firewall, left, right, udp)


def reached(host: Namespace, address: str, ports: Sequence[int], seconds: float = 1.5) -> dict[int, int]:
    """What became of connections to these ports that got any answer: 0 connected, or the error."""
    with contextlib.ExitStack() as open_sockets:
        tries = {}
        for port in ports:
            tries[port] = open_sockets.enter_context(host.open_socket(socket.AF_INET6))
            tries[port].setblocking(False)
            assert tries[port].connect_ex((address, port)) == errno.EINPROGRESS
        time.sleep(seconds)
        return {port: code for port, sock in tries.items() if (code := outcome(sock)) is not None}


def outcome(tried: socket.socket) -> int | None:
    """None while nobody has answered."""
    code = tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return code
    try:
        tried.getpeername()
    except OSError:
        return None
    return 0


def assert_answers(source: Pineconed, service: Pineconed) -> None:
    """A connection that the guarded node makes itself carries bytes both ways."""
    with listener(service.host, 9000) as other:
        other.settimeout(5)
        with source.host.connect(service.address, 9000) as ours:
            theirs, _ = other.accept()
            with theirs:
                theirs.settimeout(5)
                ours.sendall(b"question")
                assert theirs.recv(100) == b"question"
                theirs.sendall(b"answer" * 20_000)
                received = b""
                while len(received) < 120_000:
                    received += ours.recv(65536)


def test_a_stranger_reaches_no_port(guarded: Guarded) -> None:
    a, b = guarded.a, guarded.b
    assert a.status()["inbound"]["state"] == "filtered"
    a.process.wait_for("inbound traffic .*state=filtered")
    assert ping(b.host, a.address, count=5, size=60_000, interval=0.1).received == 5
    assert ping(a.host, b.address, count=5, size=60_000, interval=0.1).received == 5
    assert_answers(a, b)
    assert reached(b.host, a.address, [*TCP_PORTS, *range(1, 300), PORT]) == {}
    with b.host.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (a.address, UDP_PORT))
    guarded.udp.settimeout(1)
    with pytest.raises(TimeoutError):
        guarded.udp.recv(100)


def test_what_the_operator_lists_is_reached(guarded: Guarded) -> None:
    a, b = guarded.a, guarded.b
    guarded.firewall.add(
        "add element inet pineconed tcp_ports { 8022, 40000 }\n"
        f"add element inet pineconed udp_ports {{ {UDP_PORT} }}\n"
        f"add rule inet pineconed own ip6 saddr {b.address} tcp dport 80 accept\n"
    )
    guarded.firewall.load()
    assert reached(b.host, a.address, TCP_PORTS) == {80: 0, 8022: 0, 40000: 0}
    with b.host.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (a.address, UDP_PORT))
    guarded.udp.settimeout(5)
    assert guarded.udp.recv(100) == b"hello"


def test_a_mistake_leaves_the_rules_that_were_there(guarded: Guarded) -> None:
    guarded.firewall.add("add element inet pineconed tcp_ports { eighty }\n")
    with pytest.raises(LabError, match="eighty"):
        guarded.firewall.load()
    assert guarded.a.status()["inbound"]["state"] == "filtered"
    assert reached(guarded.b.host, guarded.a.address, TCP_PORTS) == {}


def test_without_the_rules_everything_is_open(guarded: Guarded) -> None:
    a, b = guarded.a, guarded.b
    guarded.firewall.remove()
    guarded.firewall.remove()  # as stopping the unit after somebody flushed all tables
    assert reached(b.host, a.address, TCP_PORTS) == dict.fromkeys(TCP_PORTS, 0)
    wait_until(lambda: a.status()["inbound"]["state"] == "open", 10, "the status to say so")
    guarded.firewall.load()
    wait_until(lambda: a.status()["inbound"]["state"] == "filtered", 10, "the status to say so")
    assert reached(b.host, a.address, TCP_PORTS) == {}


def test_nothing_is_passed_on_and_other_interfaces_are_left_alone(lab: Lab) -> None:
    overlay, router, site = lab.hosts("overlay router site")
    left, right = lab.link(overlay, router), lab.link(router, site)
    router.run("sysctl", "-q", "net.ipv4.ip_forward=1")
    overlay.run("ip", "route", "add", "default", "via", left.address(router))
    site.run("ip", "route", "add", "default", "via", right.address(router))
    assert passes(overlay, right.address(site))
    firewall = Firewall(router)
    assert passes(overlay, right.address(site))
    firewall.add(f'add element inet pineconed interfaces {{ "{left.device}" }}')
    firewall.load()
    assert not passes(overlay, right.address(site))
    assert passes(site, left.address(overlay))


def passes(source: Namespace, address: str) -> bool:
    """Whether a ping over IPv4 is answered."""
    try:
        source.run("ping", "-4", "-n", "-c", "1", "-W", "1", address)
    except LabError:
        return False
    return True
