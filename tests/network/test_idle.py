# SPDX-License-Identifier: Apache-2.0
"""What a node costs that has three peers and nothing to do."""

import time

import pytest

from tests.network.lab import Lab
from tests.network.nodes import PORT, Pineconed

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.patient]

SECONDS = 60
MOST_CPU = 0.5
"""Percent of one core."""


def test_an_idle_node_with_three_peers(lab: Lab) -> None:
    hub, *others = lab.hosts("hub a b c")
    node = Pineconed(hub).wait_ready()
    at_start = node.process.memory_bytes()
    for other in others:
        Pineconed(other, connect=[f"{lab.link(hub, other).address(hub)}:{PORT}"]).wait_ready()
    node.wait_peers(3)
    time.sleep(10)  # until all have found their places
    cpu, began = node.process.cpu_seconds(), time.monotonic()
    time.sleep(SECONDS)
    percent = 100 * (node.process.cpu_seconds() - cpu) / (time.monotonic() - began)
    memory = f"{at_start / 1e6:.1f} MB at start, {node.process.memory_bytes() / 1e6:.1f} MB now"
    print(f"idle with three peers for {SECONDS} s: {percent:.2f} % of a core; memory {memory}")
    assert node.status()["peers"] == 3
    assert not node.disconnects()
    assert percent <= MOST_CPU
