# SPDX-License-Identifier: Apache-2.0
"""The questions that tests ask of a network, and the trouble that they make for it.

All functions let virtual time pass and return virtual seconds, or raise SimulationError at their limit.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations
from random import Random

from pineconed.sim.clock import SimulationError
from pineconed.sim.host import Host
from pineconed.sim.link import Link
from pineconed.sim.network import Network
from pineconed.sim.probe import Delivery

Pair = tuple[int, int]


def follow_one_root(hosts: Sequence[Host]) -> bool:
    """Whether all hosts follow one root, of the same sequence, and it is the strongest of their keys."""
    root, strongest = hosts[0].root, max(host.public_key for host in hosts)
    return root.public_key == strongest and all(host.root == root for host in hosts)


def agree_on_root(network: Network, hosts: Sequence[Host] | None = None, *, limit: float) -> float:
    """Wait until the hosts (by default all that live) follow the strongest of them."""
    chosen = list(hosts) if hosts is not None else network.live_hosts()
    return network.run_until(lambda: follow_one_root(chosen), limit, "agreement on the root")


def snake_gaps(network: Network, hosts: Sequence[Host] | None = None) -> list[int]:
    """The hosts whose descending entry is not the next weaker key among them; none: the snake is whole."""
    ordered = sorted(hosts if hosts is not None else network.live_hosts(), key=lambda host: host.public_key)
    expected = [None, *(host.public_key for host in ordered[:-1])]
    return [host.number for host, key in zip(ordered, expected, strict=True) if _descending(host) != key]


def complete_snake(network: Network, hosts: Sequence[Host] | None = None, *, limit: float) -> float:
    """Wait until every host knows the next weaker key, looking every half second."""
    began = network.clock.now
    while snake_gaps(network, hosts) and network.clock.now < began + limit:
        network.run_for(0.5)
    if gaps := snake_gaps(network, hosts):
        raise SimulationError(
            f"after {limit} virtual seconds the snake has gaps (seed {network.seed}): {gaps}"
        )
    return network.clock.now - began


def all_pairs(network: Network) -> list[Pair]:
    """Every ordered pair of living hosts."""
    return list(permutations([host.number for host in network.live_hosts()], 2))


def some_pairs(network: Network, number: int, seed: int) -> list[Pair]:
    """A random choice of ordered pairs of living hosts."""
    rng, numbers = Random(f"pairs {seed}"), [host.number for host in network.live_hosts()]
    return [(source, destination) for source, destination in (rng.sample(numbers, 2) for _ in range(number))]


def send_all(network: Network, pairs: Iterable[Pair], *, within: float, size: int = 64) -> list[Delivery]:
    """Send one packet for each pair at once and give them `within` seconds; what became of each."""
    deliveries = [network.send(source, destination, size) for source, destination in pairs]
    network.run_for(within)
    return deliveries


def undelivered(deliveries: Iterable[Delivery]) -> list[Pair]:
    """The pairs whose packet did not arrive."""
    return [(one.source, one.destination) for one in deliveries if one.delivered_at is None]


def deliver_every_pair(network: Network, pairs: Iterable[Pair], *, every: float = 0.5, limit: float) -> float:
    """Send to the pairs again and again, until one packet of each has arrived."""
    began, missing = network.clock.now, list(pairs)
    deliveries: list[Delivery] = []
    while missing:
        if network.clock.now >= began + limit:
            raise SimulationError(
                f"after {limit} virtual seconds not delivered (seed {network.seed}): {missing}"
            )
        deliveries = send_all(network, missing, within=every)
        missing = undelivered(deliveries)
    return max(one.delivered_at or 0.0 for one in deliveries) - began if deliveries else 0.0


def outage(network: Network, source: int, destination: int, *, every: float = 0.1, limit: float) -> float:
    """Send again and again until a packet arrives: seconds until the first was sent that did."""
    began = network.clock.now
    sent: list[Delivery] = []

    def arrived() -> bool:
        return any(one.delivered_at is not None for one in sent)

    while not arrived():
        if network.clock.now >= began + limit:
            raise SimulationError(f"{source} cannot reach {destination} in {limit} s (seed {network.seed})")
        sent.append(network.send(source, destination))
        network.run_for(every)
    return next(one.sent_at for one in sent if one.delivered_at is not None) - began


def flap(network: Network, link: Link, *, down: float, up: float, times: int) -> None:
    """Plan to unplug and plug a link again and again, starting now; this returns at once."""
    for number in range(times):
        network.clock.after(number * (down + up), link.unplug)
        network.clock.after(number * (down + up) + down, link.plug)


def roam(network: Network, links: Sequence[Link], *, every: float, silent: bool) -> None:
    """Plan to move from link to link, starting now with the first; this returns at once.

    Leaving a link is noticed by the peer at once, or is `silent`, as when a radio goes out of reach.
    """
    for number, link in enumerate(links):
        network.clock.after(number * every, link.plug)
        network.clock.after((number + 1) * every, link.cut if silent else link.unplug)


def separate(network: Network, hosts: Iterable[int]) -> list[Link]:
    """Silently cut every link between these hosts and the others; the links that were cut."""
    inside = {network.hosts[number] for number in hosts}
    crossing = [link for link in network.links if len(inside.intersection(link.hosts)) == 1]
    for link in crossing:
        link.cut()
    return crossing


def _descending(host: Host) -> bytes | None:
    entry = host.node.snake(host.now(), None, 0).descending
    return entry.public_key if entry else None
