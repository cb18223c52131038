# SPDX-License-Identifier: Apache-2.0
"""Listeners whose address is also that of this host in the overlay."""

import socket
import time
from ipaddress import IPv6Address
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pineconed.daemon.inbound import Reception, unless_by_overlay
from pineconed.transport.gate import AcceptGate
from pineconed.transport.tcp import BY_OVERLAY


@pytest.mark.parametrize("by_overlay", [True, False])
def test_nobody_peers_with_us_over_the_overlay(by_overlay: bool) -> None:
    own = IPv6Address("::1" if by_overlay else "fd00::1")
    events, serve = Mock(), Mock()
    gate = AcceptGate(time.monotonic)
    node: Any = SimpleNamespace(address=own.packed)
    reception = Reception(node, Mock(), gate, events, Mock(), time.monotonic, bytes(32))
    visit = gate.admit("::/64")
    assert visit is not None
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        client = socket.create_connection(server.getsockname()[:2])
        accepted, _ = server.accept()
    with client, accepted:
        unless_by_overlay(serve, reception)(accepted, "[::1]:7", visit)
        if not by_overlay:
            serve.assert_called_once_with(accepted, "[::1]:7", visit)
            return
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    events.came_to_nothing.assert_called_once_with("[::1]:7", "::/64", BY_OVERLAY)
    serve.assert_not_called()
    assert gate.half_open == 0
