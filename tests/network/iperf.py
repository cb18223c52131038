# SPDX-License-Identifier: Apache-2.0
"""Transfers with iperf3 between two hosts of a lab."""

import json
import time
from typing import Any

from tests.network.lab import LabError, Namespace


class Transfer:
    """One run of iperf3, which begins at once; TCP as fast as it goes unless `options` say otherwise.

    `began` is in seconds of the monotonic clock. Transfers beside each other need a port each.
    """

    def __init__(
        self,
        client: Namespace,
        server: Namespace,
        address: str,
        seconds: float,
        *options: str,
        port: int = 5201,
    ) -> None:
        self._seconds = seconds
        number = time.monotonic_ns()
        listen = ["iperf3", "-s", "-1", "--forceflush", "-B", address, "-p", str(port)]
        self._server = server.start(f"iperf3-server-{number}", *listen)
        self._server.wait_for("Server listening")
        send = ["iperf3", "-c", address, "-p", str(port), "-t", f"{seconds:g}", "-J", *options]
        self._client = client.start(f"iperf3-client-{number}", *send)
        self.began = time.monotonic()

    @property
    def running(self) -> bool:
        return self._client.alive

    def report(self) -> dict[str, Any]:
        """Wait for the end; what iperf3 tells then. LabError when it failed."""
        if self._client.wait(self._seconds + 30):
            raise LabError(f"iperf3 failed: {self._client.text()}")
        self._server.wait(10)
        report: dict[str, Any] = json.loads(self._client.text())
        return report


def throughput(
    client: Namespace,
    server: Namespace,
    address: str,
    seconds: float = 10,
    streams: int = 1,
    reverse: bool = False,
) -> float:
    """Send TCP from `client` to `server`, or back with `reverse`; bits per second that arrived."""
    options = ["-P", str(streams), *(["-R"] if reverse else [])]
    report = Transfer(client, server, address, seconds, *options).report()
    return float(report["end"]["sum_received"]["bits_per_second"])
