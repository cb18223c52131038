# SPDX-License-Identifier: Apache-2.0
"""A whole network under virtual time: hosts, links, the trace and the test traffic, all from one seed."""

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from pineconed.overlay.address import address_of
from pineconed.router.events import Event
from pineconed.sim.clock import SimulationError, VirtualClock
from pineconed.sim.host import Host, Identity
from pineconed.sim.link import Link, StreamEnd
from pineconed.sim.pipe import LinkShape
from pineconed.sim.probe import Delivery, Probe
from pineconed.sim.signing import CheapScheme, Ed25519Scheme
from pineconed.sim.tap import Crossings
from pineconed.sim.topology import Topology
from pineconed.sim.trace import Trace


class Decision(NamedTuple):
    """What a node reported, and when (virtual seconds)."""

    when: float
    host: int
    event: Event


MAX_HOSTS = 1024


class Network:
    """Hosts and links that share a virtual clock, and all that the nodes reported.

    `real_signatures` takes Ed25519 instead of the cheap stand-in. Packets travel in the clear, so that they
    can be followed, and are there at once; with `sessions` they do as in real networks. `revision` grows
    whenever a node reports something or a packet arrives, so that `run_until` looks at its condition only
    then.
    """

    def __init__(
        self, seed: int, *, real_signatures: bool = False, sessions: bool = False, keep_lines: bool = False
    ) -> None:
        self.seed = seed
        self.clock = VirtualClock()
        self.hosts: list[Host] = []
        self.links: list[Link] = []
        self.trace = Trace(keep_lines)
        self.crossings = Crossings()
        self.probe = Probe(self.crossings, self._send_packet)
        self.decisions: list[Decision] = []
        self.revision = 0
        self._rng = Random(f"network {seed}")
        self._scheme = (Ed25519Scheme if real_signatures else CheapScheme)(Random(f"keys {seed}"))
        self._signers = [self._scheme.signer() for _ in range(MAX_HOSTS)]
        self._bare = [] if sessions else [signer.public_key for signer in self._signers]

    def add_host(self) -> Host:
        """A new host whose node starts now."""
        number = len(self.hosts)
        scheme = self._scheme
        identity = Identity(number, self._signers[number], scheme.verifier, scheme.party, self._bare)
        host = Host(self.clock, identity, self, Random(f"host {self.seed} {number}"))
        self.hosts.append(host)
        self.probe.addresses[number] = address_of(host.public_key)
        host.start()
        return host

    def connect(
        self, dialer: int, acceptor: int, shape: LinkShape | None = None, *, plugged: bool = True
    ) -> Link:
        """A cable between two hosts, of which the first dials, now or when it is plugged."""
        number = len(self.links)
        rng = Random(f"link {self.seed} {number}")
        link = Link(self.clock, rng, number, (self.hosts[dialer], self.hosts[acceptor]), shape or LinkShape())
        self.links.append(link)
        if plugged:
            link.dial()
        else:
            link.unplug()
        return link

    def build(self, topology: Topology, shape: LinkShape | None = None, *, within: float = 1.0) -> None:
        """Add the hosts and links of a topology; its node 0 becomes the next host.

        The hosts start at random moments of `within` seconds, which pass, and then the links are plugged: so
        the timers of the nodes do not fire together.
        """
        first, began = len(self.hosts), self.clock.now
        for moment in sorted(within * self._rng.random() for _ in range(topology.size)):
            self.clock.run_until(began + moment)
            self.add_host()
        self.clock.run_until(began + within)
        for dialer, acceptor in topology.edges:
            self.connect(first + dialer, first + acceptor, shape)

    def live_hosts(self) -> list[Host]:
        """The hosts that run, by number."""
        return [host for host in self.hosts if host.alive]

    def links_of(self, host: int) -> list[Link]:
        """The cables of a host."""
        return [link for link in self.links if self.hosts[host] in link.hosts]

    def kill(self, host: int) -> None:
        """End a host's process: its kernel closes the sockets, so its peers learn it at once."""
        self.hosts[host].stop()

    def vanish(self, host: int) -> None:
        """Take a host away without a word, as a power failure does: its peers hear nothing any more."""
        for link in self.links_of(host):
            link.cut()
        self.hosts[host].stop()

    def restart(self, host: int) -> None:
        """Start a fresh node on a host that was killed or has vanished; its cables carry bytes again.

        It dials its peers at once; those that dial it come when their back-off lets them.
        """
        self.hosts[host].start()
        for link in self.links_of(host):
            link.mend()
            if link.hosts[0] is self.hosts[host]:
                link.dial()

    def send(self, source: int, destination: int, size: int = 64, *, flow: int | None = None) -> Delivery:
        """Send a test packet now; those with the same `flow` (0 to 999) belong together."""
        return self.probe.send(self.clock.now, source, destination, size, flow=flow)

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], bool], limit: float, what: str) -> float:
        """Let virtual time pass until `condition` holds and return how many seconds that took.

        SimulationError, which names `what` was waited for, when it does not within `limit` virtual seconds.
        """
        began, looked_at = self.clock.now, -1
        while True:
            if looked_at != self.revision:
                looked_at = self.revision
                if condition():
                    return self.clock.now - began
            upcoming = self.clock.next_time()
            if upcoming is None or upcoming > began + limit:
                self.clock.run_until(began + limit)
                raise SimulationError(f"not within {limit} virtual seconds (seed {self.seed}): {what}")
            self.clock.step()

    def happened(self, host: int, event: Event) -> None:
        """A node reported something."""
        self.revision += 1
        self.decisions.append(Decision(self.clock.now, host, event))
        self.trace.decision(self.clock.now, host, repr(event))

    def packet_arrived(self, host: int, packet: bytes) -> None:
        """A host's endpoint gave out a packet."""
        self.revision += 1
        self.probe.arrived(self.clock.now, host, packet)
        self.trace.decision(self.clock.now, host, f"gave out {len(packet)} bytes")

    def bytes_sent(self, end: StreamEnd, frames: Iterable[tuple[int, bytes]]) -> None:
        """Frames leave by one end of a stream."""
        direction = 2 * end.link.number + (not end.dialed)
        for kind, frame in frames:
            self.trace.frame(self.clock.now, direction, kind, len(frame))
            self.crossings.crossed(self.clock.now, kind, frame, direction)

    def _send_packet(self, source: int, packet: bytes) -> None:
        self.hosts[source].send_packet(packet)
