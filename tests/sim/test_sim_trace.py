# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same trace, whatever the process and its hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pineconed.sim.network import Network
from pineconed.sim.scenario import agree_on_root, all_pairs, flap, send_all
from pineconed.sim.topology import build

ROOT = Path(__file__).parents[2]

PROGRAM = """
from tests.sim.test_sim_trace import eventful_run
print(eventful_run(7).trace.digest())
"""


def eventful_run(seed: int, *, real_signatures: bool = False) -> Network:
    """A network in which a bit of everything happens."""
    network = Network(seed, real_signatures=real_signatures)
    network.build(build("random", 14, seed))
    agree_on_root(network, limit=30.0)
    send_all(network, all_pairs(network), within=1.0)
    flap(network, network.links[3], down=0.7, up=1.1, times=3)
    network.links[5].cut()
    network.run_for(8.0)
    network.kill(2)
    network.vanish(9)
    network.run_for(8.0)
    network.restart(2)
    send_all(network, all_pairs(network), within=8.0)
    return network


@pytest.mark.parametrize("real_signatures", [False, True])
def test_the_same_seed_gives_the_same_trace(real_signatures: bool) -> None:
    first, again = (eventful_run(7, real_signatures=real_signatures) for _ in range(2))
    assert first.trace.digest() == again.trace.digest()
    assert first.decisions == again.decisions


def test_another_seed_gives_another_trace() -> None:
    assert len({eventful_run(seed).trace.digest() for seed in (7, 8, 9)}) == 3


def test_watching_changes_nothing() -> None:
    """Snapshots between the events leave no trace."""
    plain, watched = Network(3), Network(3)
    for network in (plain, watched):
        network.build(build("grid", 9, 3))
        for _ in range(20):
            network.run_for(1.0)
            if network is watched:
                for host in network.hosts:
                    host.node.status(host.now())
                    host.node.peerings(host.now())
                    host.node.tree(host.now())
                    host.node.snake(host.now(), None, 100)
                    host.node.route(network.hosts[0].public_key, host.now())
    assert plain.trace.digest() == watched.trace.digest()


def test_other_processes_with_other_hash_seeds_get_the_same_trace() -> None:
    digests = {eventful_run(7).trace.digest()}
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PROGRAM]
        run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        digests.add(run.stdout.strip())
    assert len(digests) == 1
