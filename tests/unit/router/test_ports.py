# SPDX-License-Identifier: Apache-2.0
"""Port numbers: the lowest free one, and some kept for configured peers."""

from pineconed.router.ports import LAST_PORT, RESERVED_PORTS, PortAllocator


def test_lowest_free_port_is_given_and_given_again() -> None:
    ports = PortAllocator()
    assert [ports.allocate(configured=False) for _ in range(3)] == [1, 2, 3]
    ports.release(2)
    assert ports.allocate(configured=False) == 2


def test_strangers_leave_ports_to_configured_peers() -> None:
    ports = PortAllocator()
    taken = [ports.allocate(configured=False) for _ in range(300)]
    assert taken.count(None) == 300 - (LAST_PORT - RESERVED_PORTS)
    assert ports.refused == taken.count(None)
    assert ports.allocate(configured=True) == LAST_PORT - RESERVED_PORTS + 1


def test_as_many_ports_are_kept_as_there_are_configured_peers() -> None:
    ports = PortAllocator()
    taken = [ports.allocate(configured=False, configured_peers=100) for _ in range(300)]
    assert sum(port is not None for port in taken) == LAST_PORT - 100


def test_one_stranger_gets_in_whatever_is_kept() -> None:
    ports = PortAllocator()
    assert ports.allocate(configured=False, configured_peers=400) == 1
    assert ports.allocate(configured=False, configured_peers=400) is None


def test_configured_peers_may_take_all_ports_and_no_more() -> None:
    ports = PortAllocator()
    assert [ports.allocate(configured=True) for _ in range(LAST_PORT)] == list(range(1, LAST_PORT + 1))
    assert ports.allocate(configured=True) is None
    assert len(ports) == LAST_PORT
