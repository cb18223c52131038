# SPDX-License-Identifier: Apache-2.0
"""The firewall that comes with the package, on booted machines: what a stranger on the overlay reaches."""

import pytest

from tests.network.lab import wait_until
from tests.system.conftest import Pair
from tests.system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.timeout(580)]

PORTS = (22, 8080)


def reaches(machine: Machine, address: str, port: int) -> bool:
    """Whether a TCP connection comes about within two seconds."""
    connect = f"import socket; socket.create_connection(({address!r}, {port}), 2)"
    return machine.attempt("python3", "-c", connect)[0] == 0


def serve(machine: Machine) -> None:
    machine.run("systemctl", "start", "ssh")
    machine.run("systemd-run", "--unit=web", "python3", "-m", "http.server", "--bind=::", "8080")
    wait_until(lambda: ":8080" in machine.run("ss", "-Hltn"), 10, "a web server")


def test_a_stranger_reaches_no_port_but_those_that_are_listed(pair: Pair) -> None:
    near, far = pair.near.address(), pair.far.address()
    serve(pair.near)
    serve(pair.far)
    assert all(reaches(pair.far, near, port) for port in PORTS), "all are open before"
    assert pair.near.status()["inbound"]["state"] == "open"

    pair.near.run("systemctl", "enable", "--now", "pineconed-firewall")
    assert not any(reaches(pair.far, near, port) for port in PORTS)
    assert pair.near.status()["inbound"]["state"] == "filtered"
    assert pair.far.pings(near), "ping comes in"
    assert pair.near.pings(far)
    assert all(reaches(pair.near, far, port) for port in PORTS), "answers come in"

    pair.near.path("/etc/pineconed/firewall.d/local.nft").write_text(
        "add element inet pineconed tcp_ports { 22 }\n"
    )
    pair.near.run("systemctl", "reload", "pineconed-firewall")
    assert [reaches(pair.far, near, port) for port in PORTS] == [True, False]

    pair.near.run("systemctl", "restart", "pineconed")
    wait_until(lambda: pair.far.pings(near), 30, "a ping after the restart")
    assert [reaches(pair.far, near, port) for port in PORTS] == [True, False]

    pair.near.run("systemctl", "disable", "--now", "pineconed-firewall")
    pair.near.run("systemctl", "start", "pineconed")
    wait_until(lambda: pair.far.pings(near), 30, "a ping without the firewall")
    assert reaches(pair.far, near, 8080)
