# SPDX-License-Identifier: Apache-2.0
"""The first packets to an address that nobody has spoken to wait for a session: soon, and none is lost."""

from statistics import median

import pytest

from tests.network.bursts import send_burst
from tests.network.lab import Lab
from tests.network.lines import line_of, wait_for_ways
from tests.network.ping import ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow]

FIRST_PACKET_MS = 30.0
WAITING = 64
NOTHING_REPEATED = 0.5
"""Seconds after which the first message of a handshake is sent again."""


def test_first_packet_over_three_hops(lab: Lab) -> None:
    """Three times, between other nodes each time, so that one delay of the machine does not count."""
    firsts = []
    for _ in range(3):
        nodes = line_of(lab, 4)
        wait_for_ways(nodes)
        first = ping(nodes[0].host, nodes[-1].address, count=1)
        second = ping(nodes[0].host, nodes[-1].address, count=5)
        print(f"first answer after {first.median:.1f} ms, later ones {second}")
        assert first.received == 1
        firsts.append(first.median)
    assert median(firsts) <= FIRST_PACKET_MS


@pytest.mark.parametrize("packet_size", [64, 1280])
def test_all_that_wait_for_a_session_over_three_hops_arrive(lab: Lab, packet_size: int) -> None:
    nodes = line_of(lab, 4)
    wait_for_ways(nodes)
    burst = send_burst(nodes[0].host, nodes[-1], WAITING, packet_size, timeout=10)
    print(f"{packet_size} bytes each: {burst}")
    assert burst.numbers == list(range(WAITING))
    assert burst.last_after < NOTHING_REPEATED
    [session] = nodes[-1].ctl("sessions")["sessions"]
    assert session["initiator"] is False
    assert session["rx_packets"] == WAITING
    assert not any(session["drops"].values())
    assert nodes[0].status()["drops"]["out_waiting_full"] == 0
