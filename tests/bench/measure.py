# SPDX-License-Identifier: Apache-2.0
"""What is measured on one overlay between two hosts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import Setup
from tests.network.iperf import throughput
from tests.network.lab import LabError, Namespace, run, wait_until
from tests.network.ping import parse_ping

PACKET_BYTES = 64
UDP_PORT = 9000


@dataclass(frozen=True)
class Figures:
    """One round: Mbit/s, packets/s, milliseconds, processor seconds per gigabyte, megabytes, percent."""

    bulk_1: float
    bulk_4: float
    bulk_1_back: float
    bulk_4_back: float
    packets: float
    rtt: float
    rtt_loaded: float
    cpu_per_gb: float
    memory: float
    idle_cpu: float


class Bench:
    """The measurements, between the first and the last of some hosts."""

    def __init__(self, hosts: Sequence[Namespace], setup: Setup, packets: Path, seconds: float) -> None:
        self._first, self._last = hosts[0], hosts[-1]
        self._setup = setup
        self._packets = packets
        self._seconds = seconds

    def measure(self) -> Figures:
        """Take all measurements, one after the other."""
        wait_until(lambda: bool(self._ping(1, 0.2)), 30, "the overlay to carry a ping")
        time.sleep(1)
        idle = self._idle_cpu()
        rtt = median(self._ping(100, 0.02))
        before = self._cpu_seconds()
        rate, loaded = self._bulk_with_ping()
        gigabytes = rate * self._seconds / 8e9
        cpu = (self._cpu_seconds() - before) / gigabytes
        return Figures(
            bulk_1=rate / 1e6,
            bulk_4=self._bulk(4) / 1e6,
            bulk_1_back=self._bulk(1, back=True) / 1e6,
            bulk_4_back=self._bulk(4, back=True) / 1e6,
            packets=self._small_packets(),
            rtt=rtt,
            rtt_loaded=loaded,
            cpu_per_gb=cpu,
            memory=max((process.memory_bytes() / 1e6 for process in self._setup.processes), default=0.0),
            idle_cpu=idle,
        )

    def _cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self._setup.processes)

    def _idle_cpu(self) -> float:
        """Percent of one processor that all processes together use while nothing happens."""
        before, began = self._cpu_seconds(), time.monotonic()
        time.sleep(self._seconds)
        return 100 * (self._cpu_seconds() - before) / (time.monotonic() - began)

    def _ping_command(self, count: int, interval: float) -> list[str]:
        return ["ping", "-n", "-D", "-c", str(count), "-i", f"{interval:g}", "-W", "1", self._setup.last]

    def _ping(self, count: int, interval: float) -> tuple[float, ...]:
        try:
            return parse_ping(self._first.run(*self._ping_command(count, interval))).times
        except LabError as error:
            return parse_ping(str(error)).times

    def _bulk(self, streams: int, back: bool = False) -> float:
        """Bits per second that arrive, of one direction."""
        return throughput(self._first, self._last, self._setup.last, self._seconds, streams, back)

    def _bulk_with_ping(self) -> tuple[float, float]:
        """One stream, and the median round-trip time of a ping beside it, in milliseconds."""
        count = int((self._seconds - 1) / 0.05)
        beside = self._first.start(f"ping-{time.monotonic_ns()}", *self._ping_command(count, 0.05))
        rate = self._bulk(1)
        beside.wait(10)
        return rate, median(parse_ping(beside.text()).times)

    def _small_packets(self) -> float:
        """Packets per second that arrive out of a flood."""
        span = self._seconds
        receive = [str(self._packets), "receive", str(UDP_PORT), f"{span + 2:g}"]
        receiver = self._last.start(f"packets-{time.monotonic_ns()}", *receive)
        receiver.wait_for("ready")
        flood = [str(self._packets), "send", self._setup.last, str(UDP_PORT), f"{span:g}", str(PACKET_BYTES)]
        self._first.run(*flood, timeout=span + 20)
        receiver.wait(span + 10)
        count, took = receiver.text().split()[-2:]
        return int(count) / max(float(took), span)


def median(values: Sequence[float]) -> float:
    """The middle value; infinite without any."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("inf")


def compile_packets(directory: Path) -> Path:
    """Build the sender and receiver of small packets with the C compiler."""
    program = directory / "packets"
    run(["cc", "-O2", "-o", str(program), str(Path(__file__).with_name("packets.c"))], timeout=60)
    return program
