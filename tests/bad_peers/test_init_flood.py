# SPDX-License-Identifier: Apache-2.0
"""INITs without end against a node that has a session, by the peering of a node that nobody asked for.

What they cost is bounded: the session keeps at least half of what it carries beside the same stream of
frames that are of no type, it renews its keys, and other nodes still get sessions. A flood that did not reach
its rate proves nothing and fails the test.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median
from typing import Any

import pytest

from pineconed.admin.client import AdminClient
from tests.bad_peers.flooder import Flooder
from tests.network.conftest import require_lab
from tests.network.iperf import Transfer
from tests.network.lab import Lab, Link, Namespace
from tests.network.nodes import PORT, Pineconed, seed_with_prefix
from tests.network.ping import PingStream, wait_for_ping

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

RATE = 20_000
MARGIN = 1.02
"""How much faster than stated a flood tries to be."""
INIT_SECONDS = 25
COMPARED_SECONDS = 4
ROUNDS = 8
"""The 200 s of INITs are cut up, so that what they are compared with is of the same time."""
EDGE = 0.5
"""Seconds at both ends of a phase that may belong to the next one."""
REPEATS_SECONDS = 6
SLOW_LINK = 50
"""Mbit/s of the link on which the answers to repeated INITs would fill the way to the peer."""
SLOW_SHARE = 0.7
"""What the session keeps of that link beside 800 answers a second, which take 8 Mbit/s."""
REKEY_AFTER = 30.0
REKEY = f"[overlay]\nrekey_after = {REKEY_AFTER}\n"
MEMORY_GROWTH = 32 << 20
"""Bytes by which the resident memory of a node may grow in a flood; a full table of handshakes is 8 MB."""
LOG_LINES = 30
"""Lines that a flood, and three restarts of a peer meanwhile, may cause in the log."""
DIALS = (40.0, 95.0, 150.0)
"""Seconds into the flood, while INITs come, at which a node that just started dials the one under attack."""
DIALLED_WITHIN = 2.0


@dataclass
class Place:
    """`left` has a session with `target`; the others, too, peer with `target` only."""

    left: Pineconed
    target: Pineconed
    beside: Pineconed
    newcomer: Pineconed
    attacker: Namespace
    way_in: Link
    way_left: Link


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Build it. The root is `left`."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("init-flood")) as lab:
        middle, *hosts, attacker = lab.hosts("target left beside newcomer attacker")
        links = [lab.link(host, middle) for host in hosts]
        target = Pineconed(middle, seed=seed_with_prefix("80"), configuration=REKEY).wait_ready()
        left, beside, newcomer = (
            Pineconed(host, [], [f"{link.address(middle)}:{PORT}"], seed=seed, configuration=REKEY)
            for host, link, seed in zip(hosts, links, map(seed_with_prefix, ("f0", "60", "40")), strict=True)
        )
        for node in (left, beside, newcomer):
            node.wait_ready()
        for node in (target, beside):
            wait_for_ping(left.host, node.address)
        yield Place(left, target, beside, newcomer, attacker, lab.link(attacker, middle), links[0])


def rates(transfer: Transfer) -> list[tuple[float, float]]:
    """Wait for the end; when each second began (monotonic, nearly), and its bits per second."""
    rows = [row["sum"] for row in transfer.report()["intervals"]]
    return [(transfer.began + row["start"], row["bits_per_second"]) for row in rows]


@dataclass
class Phase:
    """One part of a flood: how fast it was, and what the session carried beside it, in bits per second."""

    kind: str
    frames: int
    rate: float
    throughput: float


@dataclass
class Seen:
    """What was seen of a flood. Memory of each node is before it and at most, in bytes."""

    phases: list[Phase]
    key_ages: list[float]
    memory: dict[str, tuple[int, int]]
    told: list[str]
    drops: dict[str, int]
    dialled: list[float]

    def of(self, kind: str) -> list[Phase]:
        return [phase for phase in self.phases if phase.kind == kind]

    def frames(self, kind: str) -> int:
        return sum(phase.frames for phase in self.of(kind))

    def unanswered(self) -> int:
        """INITs above the budget, or that came again after their answers."""
        return sum(self.drops.get(cause, 0) for cause in ("init_over_budget", "init_repeated"))

    def throughputs(self, kind: str) -> list[float]:
        return [phase.throughput for phase in self.of(kind)]

    @property
    def renewals(self) -> int:
        return sum(later < earlier for earlier, later in pairwise(self.key_ages))

    def share(self, kind: str) -> float:
        """How much of its throughput the session keeps; each phase is compared with the one after it."""
        pairs = zip(self.throughputs(kind), self.throughputs("unknown"), strict=True)
        return median(beside / compared for beside, compared in pairs)


def flooded(
    place: Place,
    phases: dict[str, int],
    rounds: int,
    dials: Sequence[float] = (),
    *,
    to_left: bool = False,
) -> Seen:
    """Flood the node in phases of so many seconds, a transfer beside them, and watch it."""
    target, nodes = place.target, {"left": place.left, "target": place.target}
    plan = ",".join(f"{kind}:{seconds}" for kind, seconds in phases.items()), str(rounds)
    way = place.way_in.address(target.host), str(PORT), target.public_key.hex(), place.left.public_key.hex()
    seconds = sum(phases.values()) * rounds
    with Flooder(place.attacker, "tests.bad_peers.init_flood", *plan, *way, str(RATE * MARGIN)) as flooder:
        flooder.wait_ready()
        memory = {name: node.process.memory_bytes() for name, node in nodes.items()}
        lines, busy = len(target.process.text().splitlines()), target.process.cpu_seconds()
        before = drops(target)
        options = ["-i", "1", *(["-R"] if to_left else [])]
        transfer = Transfer(place.left.host, target.host, target.address, seconds + 1, *options)
        flooder.begin()
        ages, dialled = watch(place, seconds - 1, dials)
        report = flooder.report(timeout=30)
    busy = (target.process.cpu_seconds() - busy) / seconds
    carried = rates(transfer)
    seen = Seen(
        [phase_of(told, carried) for told in report["phases"]],
        ages,
        {name: (memory[name], node.process.peak_memory_bytes()) for name, node in nodes.items()},
        target.process.text().splitlines()[lines:],
        dict(Counter(drops(target)) - Counter(before)),
        dialled,
    )
    show(
        seen, f"{report['frame_bytes']} bytes each, made in {100 * report['busy']:.0f} % of a processor", busy
    )
    return seen


def phase_of(told: dict[str, Any], carried: list[tuple[float, float]]) -> Phase:
    """Put together what the flooder and the transfer say of a phase, without the seconds at its ends."""
    first, last = told["began"] + EDGE, told["began"] + told["seconds"] - EDGE - 1
    throughput = mean(rate for second, rate in carried if first <= second <= last)
    return Phase(told["kind"], told["frames"], told["frames"] / told["seconds"], throughput)


def show(seen: Seen, frames: str, busy: float) -> None:
    for kind in dict.fromkeys(phase.kind for phase in seen.phases):
        rates, carried = [phase.rate for phase in seen.of(kind)], seen.throughputs(kind)
        print(f"{kind}: {seen.frames(kind)} frames, {min(rates):.0f} to {max(rates):.0f} a second, {frames}")
        print(f"  beside them {mean(carried) / 1e6:.0f} Mbit/s: {[round(rate / 1e6) for rate in carried]}")
    for name, (was, peak) in seen.memory.items():
        print(f"  memory of {name}: {was / 1e6:.1f} MB, at most {peak / 1e6:.1f} MB")
    print(f"  target: {100 * busy:.0f} % of a processor, {len(seen.told)} log lines, dropped {seen.drops}")
    print(f"  keys renewed {seen.renewals} times, oldest {max(seen.key_ages):.1f} s")


def watch(place: Place, seconds: float, dials: Sequence[float]) -> tuple[list[float], list[float]]:
    """Look at the age of the keys and dial anew at the times given; the ages, and what the dials took."""
    ages: list[float] = []
    dialled: list[float] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        ages.append(key_age(place))
        if len(dialled) < len(dials) and elapsed >= dials[len(dialled)]:
            dialled.append(dial_anew(place))
        time.sleep(1)
    return ages, dialled


def ask(node: Pineconed, path: str) -> dict[str, Any]:
    """Ask the admin API, without a process for each question."""
    answer: dict[str, Any] = json.loads(AdminClient(str(node.socket)).get(path))
    return answer


def drops(node: Pineconed) -> dict[str, int]:
    found: dict[str, int] = ask(node, "/v1/status")["drops"]
    return found


def key_age(place: Place) -> float:
    """How old the keys between `left` and the node under attack are, in seconds."""
    peer = place.target.public_key.hex()
    rows = [row for row in ask(place.left, "/v1/sessions")["sessions"] if row["public_key"] == peer]
    return float(rows[0]["key_age_seconds"])


def dial_anew(place: Place) -> float:
    """Start a node again, so that it has no session, and have it dial; seconds until the first answer."""
    newcomer = place.newcomer
    newcomer.process.restart()
    newcomer.wait_ready().wait_peers(1)
    return wait_for_ping(newcomer.host, place.target.address)


def assert_bounded(seen: Seen) -> None:
    for kind in {phase.kind for phase in seen.phases}:
        assert mean(phase.rate for phase in seen.of(kind)) >= RATE
    for was, peak in seen.memory.values():
        assert peak <= was + MEMORY_GROWTH
    assert len(seen.told) <= LOG_LINES, seen.told


def test_inits(place: Place) -> None:
    with PingStream(place.beside.host, place.left.address) as stream:
        seen = flooded(place, {"inits": INIT_SECONDS, "unknown": COMPARED_SECONDS}, ROUNDS, DIALS)
        pings = stream.stop()
    share = seen.share("inits")
    print(f"  the session keeps {share:.2f}; dialled anew in {[round(took, 2) for took in seen.dialled]} s")
    print(f"  ping through the node: {pings}, loss {100 * pings.loss:.2f} %")
    assert_bounded(seen)
    assert share >= 0.5
    assert seen.renewals >= INIT_SECONDS * ROUNDS / REKEY_AFTER / 1.5
    assert max(seen.key_ages) <= REKEY_AFTER * 1.5
    assert len(seen.dialled) == len(DIALS)
    assert max(seen.dialled) <= DIALLED_WITHIN
    assert pings.loss <= 0.01
    # Nearly all are above the budget of 200 a second, or come again after their answers.
    assert seen.unanswered() >= 0.97 * seen.frames("inits")
    assert place.left.disconnects() == place.beside.disconnects() == []


def test_repeated_inits_leave_a_slow_link_to_the_session(place: Place) -> None:
    """Each is named as the peer's own, so all answers go where the transfer goes."""
    place.way_left.limit(SLOW_LINK)
    seen = flooded(place, {"repeats": REPEATS_SECONDS, "unknown": COMPARED_SECONDS}, 1, to_left=True)
    share = seen.share("repeats")
    print(f"  the session keeps {share:.2f} of a link of {SLOW_LINK} Mbit/s")
    assert_bounded(seen)
    assert share >= SLOW_SHARE
    assert seen.unanswered() >= 0.9 * seen.frames("repeats")
