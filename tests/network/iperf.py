# SPDX-License-Identifier: Apache-2.0
"""Bulk transfers with iperf3 between two hosts of a lab."""

import json
import time

from tests.network.lab import Namespace


def throughput(
    client: Namespace,
    server: Namespace,
    address: str,
    seconds: int = 10,
    streams: int = 1,
    reverse: bool = False,
) -> float:
    """Send TCP from `client` to `server`, or back with `reverse`; bits per second that arrived."""
    process = server.start(
        f"iperf3-{time.monotonic_ns()}", "iperf3", "-s", "-1", "--forceflush", "-B", address
    )
    process.wait_for("Server listening")
    argv = ["iperf3", "-c", address, "-t", str(seconds), "-P", str(streams), "-J"]
    output = client.run(*argv, *(["-R"] if reverse else []), timeout=seconds + 20)
    process.wait(10)
    return float(json.loads(output)["end"]["sum_received"]["bits_per_second"])
