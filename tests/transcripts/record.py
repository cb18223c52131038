# SPDX-License-Identifier: Apache-2.0
"""Records what a reference node does among reference nodes, for `test_replay.py`.

    PINECONE_GO=… PINECONEIP_GO=… python -m tests.transcripts.record [SCENARIO …]

Each scenario runs one reference router, the *subject*, whose key comes from a seed that the transcript keeps.
Its peers reach it through a relay that notes every byte of every connection, both ways, with the time. Later
our node takes the subject's place: it gets the same bytes at the same times, and must do as the subject did.
"""

import contextlib
import json
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.network.lab import Lab, Link, Namespace, wait_until
from tests.network.nodes import PORT, GoIp, GoRouter, seed_with_prefix
from tests.network.ping import ping, wait_for_ping
from tests.transcripts.transcript import Event, Transcript

RELAY_PORT = 7100


class Relay:
    """Passes bytes between the subject and its peers and notes them; connections have numbers."""

    def __init__(self, host: Namespace, addresses: list[str]) -> None:
        self.events: list[Event] = []
        self._host = host
        self._began = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._orders: list[Callable[[], None]] = []
        self._stopped = False
        self._links = 0
        self._listeners = [self._listen(address) for address in addresses]
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin to relay; times count from here."""
        self._began = time.monotonic()
        self._thread.start()

    def cut(self, link: int) -> None:
        """End one connection at both ends."""
        self._orders.append(lambda: self._down(link))

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(10)
        for link in list(self._pairs):
            self._close(link)
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _listen(self, address: str) -> socket.socket:
        listener = self._host.open_socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, RELAY_PORT))
        listener.listen()
        self._selector.register(listener, selectors.EVENT_READ, None)
        return listener

    def _run(self) -> None:
        while not self._stopped:
            while self._orders:
                self._orders.pop(0)()
            for key, _ in self._selector.select(0.02):
                if key.data is None:
                    self._accept(key.fileobj)
                else:
                    self._pass_on(*key.data)

    def _note(self, kind: str, link: int, data: bytes = b"") -> None:
        self.events.append(Event(round((time.monotonic() - self._began) * 1000), kind, link, data))

    def _accept(self, listener: Any) -> None:
        peer, _ = listener.accept()
        subject = self._host.connect("127.0.0.1", PORT)
        self._links += 1
        self._pairs[self._links] = (peer, subject)
        for end, kind in ((peer, "in"), (subject, "out")):
            end.settimeout(5)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end, selectors.EVENT_READ, (self._links, kind))
        self._note("up", self._links)

    def _pass_on(self, link: int, kind: str) -> None:
        if link not in self._pairs:
            return
        peer, subject = self._pairs[link]
        source, sink = (peer, subject) if kind == "in" else (subject, peer)
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(1 << 18)
        if not data:
            self._down(link)
            return
        self._note(kind, link, data)
        with contextlib.suppress(OSError):
            sink.sendall(data)

    def _down(self, link: int) -> None:
        if link in self._pairs:
            self._note("down", link)
            self._close(link)

    def _close(self, link: int) -> None:
        for end in self._pairs.pop(link):
            self._selector.unregister(end)
            end.close()


class Stage:
    """A subject, its relay, and the means to let peers come and go."""

    def __init__(self, lab: Lab, subject_key: str) -> None:
        self.lab = lab
        self.seed = seed_with_prefix(subject_key)
        self.host = lab.host("subject")
        self._links: dict[Namespace, Link] = {}
        self.router: GoRouter | None = None
        self.relay: Relay | None = None
        self.unix_ms = 0

    def peer_host(self, label: str) -> Namespace:
        host = self.lab.host(label)
        self._links[host] = self.lab.link(host, self.host)
        return host

    def begin(self) -> None:
        """Start subject and relay at the same moment."""
        self.relay = Relay(self.host, [link.address(self.host) for link in self._links.values()])
        self.router = GoRouter(self.host, seed=self.seed)
        self.relay.start()
        self.unix_ms = time.time_ns() // 1_000_000
        self.router.wait_ready()
        time.sleep(0.5)

    def way_in(self, host: Namespace) -> str:
        """Where a peer has to dial."""
        return f"{self._links[host].address(self.host)}:{RELAY_PORT}"

    def router_on(self, host: Namespace, key: str, *more: str) -> GoRouter:
        """Start a reference router that dials the subject, and whatever else is named."""
        seed = seed_with_prefix(key, 1)
        node = GoRouter(host, [self.way_in(host), *more], seed=seed).wait_ready()
        time.sleep(0.7)
        return node


def join(stage: Stage) -> None:
    """A node with a higher key comes, stays for two bootstraps, and goes."""
    host = stage.peer_host("root")
    stage.begin()
    root = stage.router_on(host, "f0")
    time.sleep(12)
    root.process.kill()
    time.sleep(2)


def root(stage: Stage) -> None:
    """The subject has the highest key: two nodes come below it, one of them goes and comes back."""
    first, second = stage.peer_host("first"), stage.peer_host("second")
    stage.begin()
    stage.router_on(first, "40")
    leaver = stage.router_on(second, "80")
    time.sleep(6)
    leaver.process.kill()
    time.sleep(2)
    leaver.process.restart()
    time.sleep(6)


def root_change(stage: Stage) -> None:
    """The parent finds a stronger root, and then loses it again; a child looks on."""
    middle, child, far = stage.peer_host("middle"), stage.peer_host("child"), stage.lab.host("far")
    link = stage.lab.link(far, middle)
    stage.begin()
    stage.router_on(middle, "80")
    stage.router_on(child, "20")
    time.sleep(5)
    strong = GoRouter(far, [f"{link.address(middle)}:{PORT}"], seed=seed_with_prefix("f0", 2)).wait_ready()
    time.sleep(7)
    strong.process.kill()
    time.sleep(4)


def parent_loss(stage: Stage) -> None:
    """The link to the parent breaks while another way to the same root exists."""
    strong, other = stage.peer_host("strong"), stage.peer_host("other")
    link = stage.lab.link(other, strong)
    stage.begin()
    stage.router_on(strong, "f0")
    stage.router_on(other, "80", f"{link.address(strong)}:{PORT}")
    time.sleep(6)
    assert stage.relay is not None
    stage.relay.cut(1)
    time.sleep(8)


def child(stage: Stage) -> None:
    """The subject changes its parent under one root, and its own child leaves for a second and comes back."""
    strong, other, below = stage.peer_host("strong"), stage.peer_host("other"), stage.peer_host("below")
    link = stage.lab.link(other, strong)
    stage.begin()
    stage.router_on(strong, "f0")
    stage.router_on(other, "80", f"{link.address(strong)}:{PORT}")
    stage.router_on(below, "20")
    time.sleep(6)
    assert stage.relay is not None
    stage.relay.cut(1)
    time.sleep(8)


def bootstrap(stage: Stage) -> None:
    """Bootstraps of other nodes cross the subject, which has the lowest key of four."""
    hosts = [stage.peer_host(label) for label in ("low", "middle", "high")]
    stage.begin()
    for host, key in zip(hosts, ("40", "60", "f0"), strict=True):
        stage.router_on(host, key)
    time.sleep(16)


def traffic(stage: Stage) -> None:
    """Two hosts ping each other through the subject, with small and with large packets."""
    left, right = stage.peer_host("left"), stage.peer_host("right")
    stage.begin()
    a = GoIp(left, connect=stage.way_in(left)).wait_ready()
    time.sleep(0.7)
    b = GoIp(right, connect=stage.way_in(right)).wait_ready()
    wait_for_ping(left, b.address)
    wait_for_ping(right, a.address)
    time.sleep(3)
    ping(left, b.address, count=4, size=56, interval=0.3)
    ping(right, a.address, count=2, size=4000, interval=0.3)
    time.sleep(3)
    wait_until(lambda: a.peer_count() == 1, 1, "the peering to be there")


SCENARIOS: dict[str, tuple[Callable[[Stage], None], str]] = {
    "join": (join, "40"),
    "root": (root, "f8"),
    "root_change": (root_change, "40"),
    "parent_loss": (parent_loss, "40"),
    "child": (child, "40"),
    "bootstrap": (bootstrap, "20"),
    "traffic": (traffic, "01"),
}


def record(name: str) -> Transcript:
    """Run one scenario and return what was noted."""
    play, subject_key = SCENARIOS[name]
    with Lab() as lab:
        stage = Stage(lab, subject_key)
        play(stage)
        assert stage.relay is not None
        stage.relay.stop()
        about = " ".join((play.__doc__ or "").split())
        return Transcript(name, about, stage.seed, stage.unix_ms, stage.relay.events)


def main(names: list[str]) -> None:
    """Record the named scenarios, or all."""
    for name in names or SCENARIOS:
        transcript = record(name)
        path = Path(__file__).parent / f"{name}.json"
        path.write_text(transcript.to_json())
        print(f"{path.name}: {len(transcript.events)} events, {path.stat().st_size} bytes")
        json.loads(path.read_text())


if __name__ == "__main__":
    main(sys.argv[1:])
