# SPDX-License-Identifier: Apache-2.0
"""Pings inside a lab: counts, round-trip times, and how long a network was away."""

import re
import statistics
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, Self

from tests.network.lab import LabError, Namespace, Process, wait_until

REPLY = re.compile(r"^\[(\d+\.\d+)\] .*icmp_seq=(\d+) ttl=\d+(?: time=([\d.]+) ms)?$", re.MULTILINE)
"""One answer: its time stamp, its number, the round-trip time (missing when under 16 bytes were sent)."""


@dataclass(frozen=True)
class PingResult:
    """What one run of ping saw: packets sent, distinct replies, round-trip times in milliseconds."""

    sent: int
    received: int
    times: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The lost share, 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 1.0

    @property
    def median(self) -> float:
        """Median round-trip time in milliseconds (infinite without a reply)."""
        return statistics.median(self.times) if self.times else float("inf")

    def __str__(self) -> str:
        text = f"{self.received}/{self.sent} answers"
        return f"{text}, median {self.median:.2f} ms, worst {max(self.times):.1f} ms" if self.times else text


def parse_ping(output: str) -> PingResult:
    """Read the output of `ping -D`."""
    replies = {int(sequence): rtt for _, sequence, rtt in REPLY.findall(output)}
    summary = re.search(r"(\d+) packets transmitted", output)
    sent = int(summary[1]) if summary else max(replies, default=0)
    return PingResult(sent, len(replies), tuple(float(rtt) for rtt in replies.values() if rtt))


def ping(
    source: Namespace, address: str, count: int = 5, size: int = 56, interval: float = 0.2, wait: float = 2.0
) -> PingResult:
    """Send `count` echo requests of `size` data bytes and wait for the answers."""
    argv = ping_command(address, size, interval, wait)
    try:
        output = source.run(*argv, "-c", str(count), timeout=count * interval + wait + 15)
    except LabError as error:
        output = str(error)  # ping exits with 1 when an answer is missing; the figures are in its output
    return parse_ping(output)


def ping_command(address: str, size: int, interval: float, wait: float) -> list[str]:
    """Return the command line of ping with time stamps."""
    return ["ping", "-6", "-n", "-D", "-i", f"{interval:g}", "-s", str(size), "-W", f"{wait:g}", address]


def wait_for_ping(source: Namespace, address: str, timeout: float = 30.0) -> float:
    """Ping until an answer comes; seconds it took. LabError after `timeout`."""

    def answered() -> bool:
        return ping(source, address, count=1, wait=0.5).received == 1

    return wait_until(answered, timeout, f"an answer from {address} to {source.label}", interval=0.05)


class Node(Protocol):
    """What answers pings, ours or the reference."""

    @property
    def host(self) -> Namespace:
        """Where it runs."""

    @property
    def address(self) -> str:
        """Of the overlay."""


def assert_pings_both_ways(one: Node, other: Node) -> None:
    """Small and large packets in both directions, without loss."""
    wait_for_ping(one.host, other.address, 40)
    wait_for_ping(other.host, one.address, 40)
    for source, target in ((one, other), (other, one)):
        for size in (1, 60_000):
            result = ping(source.host, target.address, count=10, size=size, interval=0.1)
            print(f"{source.host.label} to {target.host.label}, {size} bytes: {result}")
            assert result.received == 10


class PingStream:
    """A ping that runs in the background while a test does something to the network."""

    def __init__(
        self, source: Namespace, address: str, interval: float = 0.1, size: int = 56, name: str = "ping"
    ) -> None:
        self._process: Process = source.start(
            f"{name}-{time.monotonic_ns()}", *ping_command(address, size, interval, 5)
        )

    def first_reply_after(self, moment: float) -> float | None:
        """When the first request sent after `moment` (Unix seconds) was answered; None if none was yet."""
        for stamp, _, rtt in REPLY.findall(self._process.text()):
            if float(stamp) - float(rtt or 0) / 1000 > moment:
                return float(stamp)
        return None

    def outage(self, began: float, complete: float, timeout: float) -> float:
        """Return the seconds from `began` (Unix time) to the first answer of a request sent after `complete`.

        A cut takes some milliseconds to put in place, and requests still pass meanwhile: `began` is when it
        was started and `complete` when nothing could pass any more.
        """
        answers: list[float] = []

        def answered() -> bool:
            moment = self.first_reply_after(complete)
            answers.extend([] if moment is None else [moment])
            return bool(answers)

        wait_until(answered, timeout, "ping to come back", interval=0.05)
        return answers[0] - began

    def longest_silence(self) -> float:
        """The most seconds that passed so far between two answers."""
        stamps = [float(stamp) for stamp, _, _ in REPLY.findall(self._process.text())]
        return max(later - earlier for earlier, later in pairwise(stamps))

    def stop(self) -> PingResult:
        """End the ping and return all that it saw; a request that was still under way does not count."""
        if self._process.alive:
            self._process.interrupt()
            self._process.wait(10)
        output = self._process.text()
        result = parse_ping(output)
        last_answered = any(int(number) == result.sent for _, number, _ in REPLY.findall(output))
        return result if last_answered else replace(result, sent=result.sent - 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
