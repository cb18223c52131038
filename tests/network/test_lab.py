# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: links, cuts and cleaning up behave as the other tests believe."""

import contextlib
import socket
import time

import pytest

from tests.network.lab import PREFIX, Lab, LabError, leftovers, run, sweep, wait_until
from tests.network.ping import parse_ping

pytestmark = [pytest.mark.root, pytest.mark.netns]


def test_silent_cut_stops_packets_and_heals(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    command = ("ping", "-c", "1", "-W", "1", link.address(b))
    a.run(*command)
    link.drop()
    with pytest.raises(LabError):
        a.run(*command)
    link.heal()
    a.run(*command)


def test_refusal_ends_connections_and_refuses_new_ones(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    with b.open_socket() as listener:
        listener.bind((link.address(b), 5000))
        listener.listen()
        with a.connect(link.address(b), 5000) as dialled, listener.accept()[0] as accepted:
            link.refuse()
            accepted.settimeout(2)
            with pytest.raises(OSError):  # noqa: PT011 (reset on one side, aborted on the other)
                read_or_raise(accepted)
            with pytest.raises(OSError):  # noqa: PT011
                read_or_raise(dialled)
        with pytest.raises(ConnectionError):
            a.connect(link.address(b), 5000)
        link.heal()
        a.connect(link.address(b), 5000).close()


def read_or_raise(connection: socket.socket) -> bytes:
    return connection.recv(1)


def test_bandwidth_limit_holds(lab: Lab) -> None:
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    link.limit(megabits=40)
    with b.open_socket() as listener:
        listener.bind((link.address(b), 5000))
        listener.listen()
        with a.connect(link.address(b), 5000) as dialled, listener.accept()[0] as accepted:
            began = time.monotonic()
            dialled.settimeout(10)
            pump(dialled, accepted, 2_000_000)
            took = time.monotonic() - began
    assert 0.2 < took < 2


def pump(source: socket.socket, sink: socket.socket, size: int) -> None:
    sink.settimeout(10)
    source.setblocking(False)
    left, waiting = size, memoryview(bytes(size))
    while left:
        if waiting:
            with contextlib.suppress(BlockingIOError):
                waiting = waiting[source.send(waiting[:65536]) :]
        left -= len(sink.recv(65536))


def test_bridge_joins_hosts(lab: Lab) -> None:
    hosts = lab.hosts("a b c")
    addresses = lab.bridge(hosts)
    hosts[0].run("ping", "-c", "1", "-W", "1", addresses["b"])
    hosts[0].run("ping", "-c", "1", "-W", "1", addresses["c"])


def test_everything_is_gone_after_a_failure(lab: Lab) -> None:
    inner = Lab()
    host = inner.host("a")
    process = host.start("sleep", "sleep", "100")
    with pytest.raises(RuntimeError):
        fail_inside(inner)
    assert not process.alive
    assert host.name not in run(["ip", "netns", "list"]).split()
    assert not inner.directory.exists()


def fail_inside(lab: Lab) -> None:
    with lab:
        raise RuntimeError


def test_what_a_crashed_run_left_is_swept() -> None:
    dead = f"{PREFIX}-4194305-0"  # above the largest process id
    try:
        run(["ip", "netns", "add", dead])
    except LabError as error:
        pytest.skip(f"no namespaces here: {error}")
    sweeping = run(["ip", "netns", "exec", dead, "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"]).strip()
    assert dead in leftovers()
    sweep()
    assert dead not in run(["ip", "netns", "list"]).split()
    wait_until(lambda: not process_runs(sweeping), 2, "the process left behind to end")


def process_runs(pid: str) -> bool:
    """Say whether a process lives (one that is dead but not yet collected does not)."""
    try:
        state = run(["ps", "-o", "stat=", "-p", pid]).strip()
    except LabError:
        return False
    return not state.startswith("Z")


def test_conditions_have_deadlines() -> None:
    with pytest.raises(LabError, match=r"not within 0\.1 s: a miracle"):
        wait_until(lambda: False, 0.1, "a miracle", interval=0.02)


def test_ping_output_is_counted() -> None:
    result = parse_ping(
        "[1700000000.10] 64 bytes from fd00::1: icmp_seq=1 ttl=64 time=1.00 ms\n"
        "[1700000000.30] 64 bytes from fd00::1: icmp_seq=2 ttl=64 time=3.00 ms\n"
        "[1700000000.31] 64 bytes from fd00::1: icmp_seq=2 ttl=64 time=4.00 ms (DUP!)\n"
        "\n4 packets transmitted, 2 received, +1 duplicates, 50% packet loss\n"
    )
    assert (result.sent, result.received, result.loss, result.median) == (4, 2, 0.5, 2.0)
