# SPDX-License-Identifier: Apache-2.0
"""Small networks over links without any jitter: every protocol timer at its exact virtual time."""

import pytest

from pineconed.router.events import Event, LinkAnnounced, LinkDown, LinkUp, NodeSeen, RootChanged
from pineconed.sim.network import Network
from pineconed.sim.tap import BOOTSTRAP as BOOTSTRAP_FRAME
from tests.sim.networks import BOOTSTRAP, EXACT, KEEPALIVE, LATENCY, SILENCE, WAIT, strongest

START = 1000.0
KEEPALIVE_FRAME = 0


def times(network: Network, host: int, kind: type[Event]) -> list[float]:
    """The moments at which a host reported events of a kind, in seconds after the start."""
    reports = [one for one in network.decisions if one.host == host and isinstance(one.event, kind)]
    return sorted({round(one.when - START, 9) for one in reports})


def pair(*, root: int) -> Network:
    """Two hosts of which 0 dials 1, with the root at the given one."""
    seed = 0
    while True:
        network = Network(seed, keep_lines=True)
        hosts = [network.add_host(), network.add_host()]
        if strongest(hosts).number == root:
            network.connect(0, 1, EXACT)
            return network
        seed += 1


def line_of_three(*, strength: tuple[int, int, int]) -> Network:
    """Three hosts in a line whose keys are ordered as the numbers in `strength`."""
    seed = 0
    while True:
        network = Network(seed, keep_lines=True)
        hosts = [network.add_host() for _ in strength]
        ranks = sorted(hosts, key=lambda host: host.public_key)
        if tuple(ranks.index(host) for host in hosts) == strength:
            network.connect(0, 1, EXACT)
            network.connect(1, 2, EXACT)
            return network
        seed += 1


def frame_times(network: Network, kind: int, arrow: str, link: int = 0) -> list[float]:
    """When frames of a type left by a link in one direction, in seconds after the start."""
    assert network.trace.lines is not None
    wanted = f"link {link} {arrow} type {kind} "
    return [float(line.split()[0]) - START for line in network.trace.lines if wanted in line]


def test_a_peering_is_up_when_the_handshake_has_crossed() -> None:
    """Connected after 1 and 2 latencies; the acceptor's handshake arrives at 2, the dialler's at 3."""
    network = pair(root=0)
    network.run_for(1.0)
    assert times(network, 0, LinkUp) == pytest.approx([2 * LATENCY])
    assert times(network, 1, LinkUp) == pytest.approx([3 * LATENCY])


def test_announcements_follow_the_handshakes_at_once() -> None:
    """The dialler announces itself at 2 latencies, the acceptor at 3; each takes one to arrive."""
    network = pair(root=0)
    network.run_for(1.0)
    assert times(network, 1, LinkAnnounced) == pytest.approx([3 * LATENCY])
    assert times(network, 0, LinkAnnounced) == pytest.approx([4 * LATENCY])


@pytest.mark.parametrize(("root", "latencies"), [(0, 3), (1, 4)])
def test_the_weaker_node_follows_the_stronger_with_its_first_announcement(root: int, latencies: int) -> None:
    network = pair(root=root)
    weaker = 1 - root
    network.run_for(1.0)
    *_, followed = [one for one in network.decisions if isinstance(one.event, RootChanged)]
    assert followed.host == weaker
    assert followed.when - START == pytest.approx(latencies * LATENCY)
    assert network.hosts[weaker].root == network.hosts[root].root


def test_bootstraps_leave_every_five_seconds_from_the_first_upkeep_on() -> None:
    network = pair(root=1)
    network.run_for(21.5)
    assert frame_times(network, BOOTSTRAP_FRAME, ">") == pytest.approx(
        [1.0 + BOOTSTRAP * n for n in range(5)]
    )
    assert frame_times(network, BOOTSTRAP_FRAME, "<") == []


def test_an_idle_peering_sends_a_keepalive_three_seconds_after_the_last_frame() -> None:
    """The root does not bootstrap, so after its announcement and its broadcast it has nothing to send."""
    network = pair(root=1)
    network.run_for(20.0)
    first = frame_times(network, 4, "<")[-1] + KEEPALIVE
    assert frame_times(network, KEEPALIVE_FRAME, "<") == pytest.approx(
        [first + KEEPALIVE * number for number in range(len(frame_times(network, KEEPALIVE_FRAME, "<")))]
    )
    assert len(frame_times(network, KEEPALIVE_FRAME, "<")) == 6


def test_broadcasts_leave_sixty_seconds_after_the_start() -> None:
    """And arrive one latency later; the first one was the greeting, right after the first announcement."""
    network = pair(root=1)
    network.run_for(61.0)
    assert times(network, 0, NodeSeen) == pytest.approx([4 * LATENCY, 60.0 + LATENCY])
    assert times(network, 1, NodeSeen) == pytest.approx([5 * LATENCY, 60.0 + LATENCY])


@pytest.mark.parametrize("moment", [10.0, 11.7, 12.9])
def test_a_silent_peering_ends_five_seconds_after_its_last_byte(moment: float) -> None:
    network = pair(root=1)
    network.run_for(moment)
    network.links[0].redials = False
    network.links[0].cut()
    network.run_for(10.0)
    for host, arrow in ((0, "<"), (1, ">")):
        frames = [when for kind in range(5) for when in frame_times(network, kind, arrow)]
        heard = max(when for when in frames if when + LATENCY <= moment) + LATENCY
        assert times(network, host, LinkDown) == pytest.approx([heard + SILENCE])


def test_a_closed_stream_is_noticed_after_one_latency() -> None:
    network = pair(root=1)
    network.run_for(10.0)
    network.kill(0)
    network.run_for(1.0)
    assert times(network, 1, LinkDown) == pytest.approx([10.0 + LATENCY])


def test_an_orphan_is_its_own_root_at_once() -> None:
    """The last peering is gone: everything is reset, and the own sequence has grown by one at least."""
    network = pair(root=1)
    before = network.hosts[0].root
    network.run_for(10.0)
    network.kill(1)
    network.run_for(LATENCY + 1e-6)
    assert network.hosts[0].root.public_key == network.hosts[0].public_key
    assert network.hosts[0].root.sequence > before.sequence
    assert network.hosts[0].node.status(network.hosts[0].now()).coords == ()


def test_a_grandchild_waits_one_second_when_its_parent_becomes_root() -> None:
    """The root 0 dies; 1 notices after a latency and says so; 2 hears it another latency later.

    It becomes root, and takes 1, which is stronger, as its parent after the wait.
    """
    network = line_of_three(strength=(2, 1, 0))
    network.run_for(10.0)
    known = len(times(network, 2, RootChanged))
    network.kill(0)
    network.run_for(5.0)
    alone, together = times(network, 2, RootChanged)[known:]
    assert alone == pytest.approx(10.0 + 2 * LATENCY)
    assert together == pytest.approx(10.0 + 2 * LATENCY + WAIT)
    assert network.hosts[2].root == network.hosts[1].root


def test_a_stronger_grandchild_is_followed_without_waiting() -> None:
    """As before, but 2 is stronger than 1: when it becomes root it says so, and 1 has no reason to wait."""
    network = line_of_three(strength=(2, 0, 1))
    network.run_for(10.0)
    known = len(times(network, 1, RootChanged))
    network.kill(0)
    network.run_for(5.0)
    alone, together = times(network, 1, RootChanged)[known:]
    assert alone == pytest.approx(10.0 + LATENCY)
    assert together == pytest.approx(10.0 + 3 * LATENCY)
    assert network.hosts[1].root == network.hosts[2].root


def test_a_path_is_forgotten_at_the_first_upkeep_ten_seconds_after_its_last_bootstrap() -> None:
    """Host 0 vanishes at 18 s; its last bootstrap left at 16 s and reached host 2 two latencies later.

    Over the root 1 in the middle it went on to 2, the next stronger key. There its path is too old at
    26.02 s, so the upkeep at 27 s removes it.
    """
    network = line_of_three(strength=(0, 2, 1))
    network.run_for(18.0)
    network.vanish(0)
    far = network.hosts[2]
    assert far.node.snake(far.now(), None, 0).total == 1
    network.clock.run_until(START + 26.9)
    assert far.node.snake(far.now(), None, 0).total == 1
    network.clock.run_until(START + 27.0)
    assert far.node.snake(far.now(), None, 0).total == 0
