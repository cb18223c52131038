# SPDX-License-Identifier: Apache-2.0
"""The first packets to an address that nobody has spoken to wait for a session: soon, and none is lost."""

import pytest

from tests.network.bursts import send_burst
from tests.network.lab import Lab
from tests.network.lines import line_of, wait_for_ways
from tests.network.ping import ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

FIRST_PACKET_MS = 30.0
WAITING = 64


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_first_packet_over_three_hops(lab: Lab, turn: int) -> None:
    nodes = line_of(lab, 4)
    wait_for_ways(nodes)
    first = ping(nodes[0].host, nodes[-1].address, count=1)
    second = ping(nodes[0].host, nodes[-1].address, count=5)
    print(f"turn {turn}: first answer after {first.median:.1f} ms, later ones {second}")
    assert first.received == 1
    assert first.median <= FIRST_PACKET_MS


@pytest.mark.parametrize("packet_size", [64, 1280])
def test_all_that_wait_for_a_session_over_three_hops_arrive(lab: Lab, packet_size: int) -> None:
    nodes = line_of(lab, 4)
    wait_for_ways(nodes)
    burst = send_burst(nodes[0].host, nodes[-1], WAITING, packet_size, timeout=10)
    print(f"{packet_size} bytes each: {burst}")
    assert burst.numbers == list(range(WAITING))
    assert burst.first_after <= FIRST_PACKET_MS / 1000
    [session] = nodes[-1].ctl("sessions")["sessions"]
    assert session["initiator"] is False
    assert session["rx_packets"] == WAITING
    assert not any(session["drops"].values())
    assert nodes[0].status()["drops"]["out_waiting_full"] == 0
