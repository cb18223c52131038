# SPDX-License-Identifier: Apache-2.0
"""Which packets share a flow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.flow import MAX_REMEMBERED, FlowHash
from tests.unit.overlay.packets import FRAGMENT, ICMPV6, OWN, PEER, TCP, UDP, ipv6, ports

KEY = b"sixteen secret b"


def _distinct(flows: set[tuple[int, int]], of: int) -> bool:
    """Whether that many hashes of 16 bits differ as random ones do."""
    return len(flows) >= of - 2


@pytest.mark.parametrize("protocol", [TCP, UDP, 33, 132, 136])
def test_the_ports_tell_flows_apart(protocol: int) -> None:
    flows = FlowHash(KEY)
    by_port = {flows.of(ipv6(OWN, PEER, ports(1000 + number, 22), protocol)) for number in range(20)}
    assert _distinct(by_port, 20)


@pytest.mark.parametrize("protocol", [FRAGMENT, ICMPV6, 59])
def test_without_ports_the_payload_says_nothing(protocol: int) -> None:
    flows = FlowHash(KEY)
    assert len({flows.of(ipv6(OWN, PEER, bytes([number] * 8), protocol)) for number in range(20)}) == 1


def test_hosts_and_protocols_tell_flows_apart() -> None:
    flows = FlowHash(KEY)
    hosts = {flows.of(ipv6(OWN, bytes([0xFD, number]) + PEER[2:], ports(1, 2))) for number in range(20)}
    protocols = {flows.of(ipv6(OWN, PEER, ports(1, 2), protocol)) for protocol in range(20)}
    assert _distinct(hosts, 20)
    assert _distinct(protocols, 20)


def test_length_and_payload_do_not() -> None:
    flows = FlowHash(KEY)
    assert len({flows.of(ipv6(OWN, PEER, ports(1, 2, bytes(number)))) for number in range(20)}) == 1


@given(st.binary(max_size=6), st.integers(0, 255))
def test_any_header_has_a_flow_of_two_bytes(payload: bytes, protocol: int) -> None:
    queue, extra = FlowHash(KEY).of(ipv6(OWN, PEER, payload, protocol))
    assert 0 <= queue <= 255
    assert 0 <= extra <= 255


def test_the_key_decides() -> None:
    packets = [ipv6(OWN, PEER, ports(number, 22)) for number in range(8)]
    flows = [FlowHash(KEY).of(packet) for packet in packets]
    assert flows == [FlowHash(KEY).of(packet) for packet in packets]
    assert flows != [FlowHash(b"another").of(packet) for packet in packets]


def test_what_is_remembered_is_bounded_and_changes_nothing() -> None:
    flows = FlowHash(KEY)
    packets = [ipv6(OWN, PEER, ports(number, 22)) for number in range(2 * MAX_REMEMBERED + 1)]
    first = [flows.of(packet) for packet in packets]
    assert len(flows._remembered) <= MAX_REMEMBERED
    assert [flows.of(packet) for packet in packets] == first
