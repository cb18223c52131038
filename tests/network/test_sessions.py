# SPDX-License-Identifier: Apache-2.0
"""Sessions over real links: nobody on the way reads along, and neither a restart nor new keys cost much."""

import contextlib
import json
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from pineconed.admin.client import AdminClient
from tests.network.conftest import require_lab
from tests.network.iperf import Transfer
from tests.network.lab import SO_RCVBUFFORCE, Lab, Link, Namespace, Process, wait_until
from tests.network.lines import line_of
from tests.network.nodes import Pineconed
from tests.network.ping import PingStream, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

PATTERN = bytes.fromhex("9d3be1570c42f8a61e95d07b2ac8643f")
"""What is looked for; ping fills its packets with it, over and over."""

ETH_P_ALL = 3
UDP_PORT = 9100
BACK_WITHIN = 5.0
REKEY = "[overlay]\nrekey_after = 1.0\n"
REKEY_SECONDS = 60


# No plaintext on the way


class Capture:
    """Everything that crosses one link, in both directions."""

    def __init__(self, link: Link) -> None:
        self.found = False
        self.size = 0
        self._over = threading.Event()
        self._socket = link.a.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((link.device, ETH_P_ALL))
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            if select.select([self._socket], [], [], 0.1)[0]:
                packet = self._socket.recv(1 << 17)
                self.size += len(packet)
                self.found = self.found or PATTERN in packet

    def has_found(self) -> bool:
        return self.found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._socket.close()


def in_memory(process: Process) -> bool:
    """Whether the pattern is anywhere in the memory of a process."""
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        return any(PATTERN in part for part in readable_parts(process, memory.fileno()))


def readable_parts(process: Process, memory: int) -> Iterator[bytes]:
    """The memory that a process has mapped, region by region; what cannot be read is left out."""
    for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
        if match and "[v" not in line:
            start, end = (int(number, 16) for number in match.groups())
            yield read_region(memory, start, end)


def read_region(memory: int, start: int, end: int) -> bytes:
    parts = []
    with contextlib.suppress(OSError):
        while start < end and (part := os.pread(memory, min(end - start, 1 << 24), start)):
            parts.append(part)
            start += len(part)
    return b"".join(parts)


def test_no_plaintext_on_the_way(lab: Lab) -> None:
    left, middle, right = line_of(lab, 3)
    before, behind = lab.links
    with Capture(before) as first, Capture(behind) as second:
        # From the very first packet on: while there is no session, packets wait, and one goes in CONFIRM.
        argv = ["ping", "-6", "-n", "-i", "0.01", "-s", "1100", "-p", PATTERN.hex(), right.address]
        stream = left.host.start("pattern", *argv)
        wait_until(lambda: "ttl=" in stream.text(), 30, "an answer to the pattern")
        for end in (left, right):
            wait_until(partial(in_memory, end.process), 10, "the pattern in the memory of an end")
        for _ in range(10):
            assert not in_memory(middle.process)
            time.sleep(0.2)
        stream.interrupt()
        stream.wait(10)
        print(f"{first.size} and {second.size} bytes captured")
        assert min(first.size, second.size) > 100 * 1100
        assert (first.found, second.found) == (False, False)
        for link, capture in ((before, first), (behind, second)):  # the captures do see it when it is there
            with link.a.open_socket(kind=socket.SOCK_DGRAM) as sender:
                sender.sendto(PATTERN, (link.address(link.b), UDP_PORT))
            wait_until(capture.has_found, 5, "the pattern, sent in the clear")


# A peer that was killed


@dataclass
class Pair:
    """Two ends with a node between them."""

    lab: Lab
    left: Pineconed
    right: Pineconed


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    require_lab()
    with Lab(tmp_path_factory.mktemp("pair")) as lab:
        left, _, right = line_of(lab, 3)
        yield Pair(lab, left, right)


class OneWay:
    """Datagrams from one host to another, which sends nothing back."""

    def __init__(self, source: Namespace, target: Namespace, address: str) -> None:
        self._over = threading.Event()
        self._sender = source.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._receiver = target.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._receiver.bind(("::", UDP_PORT))
        self._address = address
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError):  # what ICMPv6 errors about earlier ones said
                self._sender.sendto(repr(time.time()).encode(), (self._address, UDP_PORT))

    def first_after(self, moment: float, timeout: float) -> float:
        """When the first datagram that was sent after `moment` (Unix seconds) arrived."""
        deadline = time.monotonic() + timeout
        self._receiver.settimeout(timeout)
        while time.monotonic() < deadline:
            if float(self._receiver.recv(100)) > moment:
                return time.time()
        raise TimeoutError("no datagram arrived")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._sender.close()
        self._receiver.close()


def kill_and_restart(node: Pineconed) -> tuple[float, float]:
    """When it was killed and when it was started again, in Unix seconds."""
    began = time.time()
    node.process.kill()
    killed = time.time()
    node.process.restart()
    return began, killed


@pytest.mark.parametrize("sender", ["the side that stayed", "the side that was killed"])
def test_ping_is_back_after_a_kill(pair: Pair, sender: str) -> None:
    wait_for_ping(pair.left.host, pair.right.address)
    source, target = (pair.left, pair.right) if "stayed" in sender else (pair.right, pair.left)
    with PingStream(source.host, target.address, interval=0.05) as stream:
        time.sleep(1)
        outage = stream.outage(*kill_and_restart(pair.right), timeout=60)
    pair.right.wait_ready()
    print(f"ping from {sender}: back after {outage:.2f} s")
    assert outage <= BACK_WITHIN


def test_datagrams_one_way_are_back_after_a_kill(pair: Pair) -> None:
    wait_for_ping(pair.left.host, pair.right.address)
    with OneWay(pair.left.host, pair.right.host, pair.right.address) as stream:
        stream.first_after(time.time(), 10)
        began, killed = kill_and_restart(pair.right)
        outage = stream.first_after(killed, 60) - began
    pair.right.wait_ready()
    print(f"only the other side sends: back after {outage:.2f} s")
    assert outage <= BACK_WITHIN


@pytest.mark.parametrize("away", [0.0, 2.0, 3.7, 5.0, 8.6])
def test_datagrams_one_way_are_back_after_an_orderly_restart(pair: Pair, away: float) -> None:
    """A node that ends says so: then its peers dial it again and again, with growing pauses, for nothing."""
    wait_for_ping(pair.left.host, pair.right.address)
    with OneWay(pair.left.host, pair.right.host, pair.right.address) as stream:
        stream.first_after(time.time(), 10)
        assert pair.right.process.stop() == 0
        time.sleep(away)
        began = time.time()
        pair.right.process.restart()
        pair.right.wait_ready()
        ready = time.time()
        arrived = stream.first_after(began, 60)
    outage = max(0.0, arrived - ready)
    print(f"away for {away} s: back {outage:.2f} s after the node")
    assert outage <= BACK_WITHIN


# New keys


def drops(node: Pineconed) -> dict[str, int]:
    """How many of what was dropped, without the causes that did not happen."""
    return {cause: count for cause, count in node.status()["drops"].items() if count}


def session_drops(node: Pineconed) -> dict[str, int]:
    """The same for the one session that there is."""
    (session,) = node.ctl("sessions")["sessions"]
    return {cause: count for cause, count in session["drops"].items() if count}


def watch_keys(node: Pineconed, transfers: Sequence[Transfer]) -> list[float]:
    """Look at the age of the keys until the transfers have ended, without the cost of `pineconectl`."""
    client = AdminClient(str(node.socket))
    ages = []
    while any(transfer.running for transfer in transfers):
        (session,) = json.loads(client.get("/v1/sessions"))["sessions"]
        ages.append(session["key_age_seconds"])
        time.sleep(0.2)
    return ages


def test_new_keys_every_second_lose_nothing(lab: Lab) -> None:
    """A minute of one TCP stream as fast as it goes and, beside it, of datagrams at a moderate rate."""
    left, right = line_of(lab, 2, REKEY)
    wait_for_ping(left.host, right.address)
    way = left.host, right.host, right.address, REKEY_SECONDS
    bulk = Transfer(*way)
    datagrams = Transfer(*way, "-u", "-b", "8M", "-l", "1100", port=5202)
    ages = watch_keys(left, [bulk, datagrams])
    renewals = sum(later < earlier for earlier, later in pairwise(ages))
    print(f"keys renewed at least {renewals} times, oldest {max(ages):.1f} s")
    print(f"dropped: {drops(left)} and {drops(right)}, of the session {session_drops(right)}")
    assert renewals >= REKEY_SECONDS * 0.75
    assert max(ages) <= 2.5
    total = datagrams.report()["end"]["sum"]
    print(f"{total['packets']} datagrams, {total['lost_packets']} lost")
    assert total["packets"] > REKEY_SECONDS * 800
    assert total["lost_packets"] == 0
    end = bulk.report()["end"]
    rate, again = end["sum_received"]["bits_per_second"], end["sum_sent"]["retransmits"]
    full = drops(left).get("queue_full", 0)
    print(f"{rate / 1e6:.0f} Mbit/s, {again} segments sent again")
    # TCP fills the queue until it drops; nothing else was lost.
    assert drops(right).keys() | drops(left).keys() <= {"queue_full"}
    assert session_drops(left) == session_drops(right) == {}
    assert again <= full * 1.1 + 20
