# SPDX-License-Identifier: Apache-2.0
"""Two daemons that peer over TLS: in each role, with pins and a password, under load, after a restart."""

import pytest

from tests.network.iperf import throughput
from tests.network.lab import Lab, wait_until
from tests.network.nodes import PORT, Pineconed, seed_with_prefix
from tests.network.ping import ping, wait_for_ping

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.patient,
    pytest.mark.timeout(120),
]

HIGH, LOW = seed_with_prefix("e"), seed_with_prefix("2")
PASSWORD = "Qm3xw2pBzF8bJ1hT0aVdNg"


def tls_pair(lab: Lab, dialling_seed: bytes, listening_seed: bytes) -> tuple[Pineconed, Pineconed]:
    """Two hosts, of which the first dials; each knows the other's key and the password."""
    a, b = lab.hosts("a b")
    link = lab.link(a, b)
    dialling_key = Pineconed.key_of(dialling_seed).hex()
    listening_key = Pineconed.key_of(listening_seed).hex()
    listen = f"tls://0.0.0.0:{PORT}?password={PASSWORD}&key={dialling_key}"
    listening = Pineconed(b, [listen], seed=listening_seed).wait_ready()
    uri = f"tls://{link.address(b)}:{PORT}?password={PASSWORD}&key={listening_key}&interface={link.device}"
    return Pineconed(a, [], [uri], seed=dialling_seed).wait_ready(), listening


@pytest.mark.parametrize("seeds", [(HIGH, LOW), (LOW, HIGH)], ids=["high dials", "low dials"])
def test_both_know_whom_they_peer_with(lab: Lab, seeds: tuple[bytes, bytes]) -> None:
    dialling, listening = tls_pair(lab, *seeds)
    took = wait_for_ping(dialling.host, listening.address)
    for node, other in ((dialling, listening), (listening, dialling)):
        [row] = node.peers()
        assert (row["public_key"], row["proven"], row["scheme"]) == (other.public_key.hex(), True, "tls")
        assert PASSWORD not in node.process.text()
        assert PASSWORD not in str(row)
    large = ping(dialling.host, listening.address, count=20, size=60_000, interval=0.05)
    rate = throughput(dialling.host, listening.host, listening.address, seconds=3)
    back = throughput(dialling.host, listening.host, listening.address, seconds=3, reverse=True)
    print(f"first answer after {took:.1f} s; 60 KB {large}")
    print(f"{rate / 1e6:.0f} Mbit/s, back {back / 1e6:.0f} Mbit/s")
    assert large.received == 20
    assert min(rate, back) > 100e6
    assert dialling.disconnects() == listening.disconnects() == []


def test_a_listener_that_restarts_is_found_again(lab: Lab) -> None:
    dialling, listening = tls_pair(lab, LOW, HIGH)
    wait_for_ping(dialling.host, listening.address)
    listening.process.restart()
    wait_until(lambda: bool(dialling.disconnects()), 10, "the end of the peering")
    assert "the peer closed the connection" in dialling.disconnects()[0]
    wait_for_ping(dialling.host, listening.address)
