# SPDX-License-Identifier: Apache-2.0
"""Whole nodes that are hostile: one on the way whose forwarding a test alters, one beside it that forges.

Node 0 (a) and node 2 (b) talk, node 1 (m) is the only way between them. Node 3 (x), if there is one, carries
nothing of theirs. All are real nodes with real keys; what m and x do amiss happens where frames leave them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, TypeAlias

from pineconed.overlay.session.session import Session
from pineconed.overlay.session.sessions import Sessions
from pineconed.sim.host import Host
from pineconed.sim.network import Network
from pineconed.sim.probe import Delivery
from pineconed.sim.tap import TRAFFIC
from pineconed.sim.topology import Topology
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import TrafficFrame, encode_frame
from pineconed.wire.watermark import FULL
from tests.sim.networks import EXACT
from tests.unit.overlay.conversation import CONFIRM, DATA, decoded, split_frames
from tests.unit.overlay.hostile import invented

A, M, B, X = range(4)

SETTLING = 20.0
ROUND_TRIP = 0.04
"""Between a and b, in seconds."""

Outgoing: TypeAlias = Iterable[tuple[float, bytes]]
Meddle: TypeAlias = Callable[[bytes, int], Outgoing]
"""What becomes of a frame that is to leave for the host of this number: seconds from now, and what leaves."""


def honest(frame: bytes, _: int) -> Outgoing:
    """Carry it, as any node does."""
    return [(0.0, frame)]


def dropping(_frame: bytes, _: int) -> Outgoing:
    """Carry nothing."""
    return []


class Attacker:
    """A real node whose outgoing traffic frames a test alters, and by which it sends its own.

    `carried` is what went through it, `received` counts by type the session messages that came to it.
    """

    def __init__(self, network: "HostileNetwork", host: Host) -> None:
        self.meddle: Meddle = honest
        self.carried: list[bytes] = []
        self.received: Counter[int] = Counter()
        self._clock = network.clock
        self._host = host
        self._forged: dict[int, list[bytes]] = {}
        self._take = host.node.take
        self._inbound = host.node._endpoint.inbound
        host.node.take = self._taken  # type: ignore[method-assign]
        host.node._endpoint.inbound = self._note  # type: ignore[method-assign, assignment]

    def send(self, frame: bytes, neighbour: int) -> None:
        """Have a frame of any making leave for a neighbour."""
        host = self._host
        link = next(number for number, end in host.ends.items() if _other(end, host) == neighbour)
        self._forged.setdefault(link, []).append(frame)
        host._pump(link, host.ends[link])

    def _taken(self, number: int, budget: int, now: Any) -> list[Any]:
        frames = [*self._forged.pop(number, [])]
        neighbour = _other(self._host.ends[number], self._host)
        for frame in split_frames(b"".join(self._take(number, budget, now))):
            if frame[5] != TRAFFIC:
                frames.append(frame)
                continue
            self.carried.append(frame)
            for delay, leaving in self.meddle(frame, neighbour):
                if delay:
                    self._clock.after(delay, self.send, leaving, neighbour)
                else:
                    frames.append(leaving)
        return frames

    def _note(self, source_key: bytes, coords: bytes, payload: Any, port: int, now: Any) -> None:
        self.received[payload[0]] += 1
        self._inbound(source_key, coords, payload, port, now)


def _other(end: Any, host: Host) -> int:
    number: int = next(each.number for each in end.link.hosts if each is not host)
    return number


class HostileNetwork(Network):
    """The nodes, settled. `beside` is the neighbour of x; `strays` are packets given out that nobody sent."""

    def __init__(self, seed: int = 1, beside: int | None = None) -> None:
        super().__init__(seed, real_signatures=True, sessions=True)
        self.strays: list[bytes] = []
        edges = [(A, M), (M, B), *([] if beside is None else [(X, beside)])]
        self.build(Topology("hostile", len(edges) + 1, tuple(edges)), EXACT)
        self.run_for(SETTLING)
        self.mallory = Attacker(self, self.hosts[M])
        self.outsider = None if beside is None else Attacker(self, self.hosts[X])

    def packet_arrived(self, host: int, packet: bytes) -> None:
        """Beside what the network does, tell apart what nobody sent."""
        sent = any(packet == one.packet for one in self.probe.deliveries)
        if sent or packet[6] == 58:
            super().packet_arrived(host, packet)
        else:
            self.strays.append(packet)

    # The two that talk

    def key(self, host: int) -> bytes:
        return self.hosts[host].public_key

    def sessions(self, host: int) -> Sessions:
        return self.hosts[host].node._endpoint.sessions

    def session(self, host: int) -> Session:
        """The one that a or b sends to the other by."""
        return self.sessions(host).newest[self.key(A + B - host)[:15]]

    def believed_coords(self, host: int) -> Coords | None:
        """Where a or b thinks that the other is; None if it does not know."""
        return self.sessions(host).context.known.coords(self.key(A + B - host)[:15], self.clock.now)

    def coords(self, host: int) -> Coords:
        return self.hosts[host].node._table.coords

    def drops(self, host: int) -> dict[str, int]:
        return {cause: n for cause, n in self.hosts[host].node._endpoint.drops().items() if n}

    def renew_in(self, seconds: float, host: int = A) -> None:
        """Have a host renew its session then."""
        session = self.session(host)
        session.rekey_at = self.clock.now + seconds
        self.sessions(host).context.timers.arm(session, session.due())
        self.hosts[host]._arm()

    def redial(self, host: int) -> None:
        """Have a host make another session by a plain INIT."""
        self.sessions(host).dialler.redial(self.key(A + B - host)[:15], self.clock.now)
        self.hosts[host]._turn()

    def talk(self, number: int, every: float = 0.1) -> list[Delivery]:
        """So many packets each way, and then time enough for the last."""
        sent = []
        for _ in range(number):
            sent += [self.send(A, B, flow=1), self.send(B, A, flow=1)]
            self.run_for(every)
        return sent

    def run_until_renewed(self, before: Session, limit: float) -> float:
        """Seconds until a sends by a session that is newer than `before`."""
        began = self.clock.now
        while self.session(A).created_at <= before.created_at:
            assert self.clock.now < began + limit, "not renewed"
            self.run_for(0.01)
        return self.clock.now - began

    def run_until_delivered(self, delivery: Delivery, limit: float) -> float:
        """Seconds from sending to arrival."""
        self.run_until(lambda: bool(delivery.copies), limit, "delivered")
        return delivery.seconds

    # What hostile nodes send

    def frame(self, source: int, to: int, payload: bytes, coords: Coords | None = None) -> bytes:
        """A frame named as from `source`, with its coords or others."""
        named = self.coords(source) if coords is None else coords
        return encode_frame(
            TrafficFrame(self.coords(to), named, self.key(to), self.key(source), FULL, payload)
        )

    def flood(
        self, attacker: Attacker, neighbour: int, to: int, rate: float, seconds: float, each: int = 1
    ) -> None:
        """Plan INITs to a or b named as the other; every one comes `each` times, half a second apart."""
        together = int(rate / 2) if each > 1 else 1
        for slot in range(int(rate * seconds)):
            number = slot // (together * each) * together + slot % together
            self.clock.after(slot / rate, self._flood_one, attacker, neighbour, to, number)

    def _flood_one(self, attacker: Attacker, neighbour: int, to: int, number: int) -> None:
        init = _POOL[number % len(_POOL)]
        init = init[:4] + number.to_bytes(4) + init[8:]
        attacker.send(self.frame(A + B - to, to, init), neighbour)


_POOL = [invented(Random(number)) for number in range(20)]


def assert_exactly(network: HostileNetwork, sent: Iterable[Delivery]) -> None:
    """Every packet arrived once and where it belongs, and nothing else did."""
    for one in sent:
        assert (one.copies, one.misdelivered, one.refused) == (1, 0, False)
    assert_nothing_else(network)


def assert_nothing_else(network: HostileNetwork) -> None:
    """Nothing arrived twice, nothing elsewhere, nothing that was not sent."""
    assert network.strays == []
    assert all(one.copies <= 1 and one.misdelivered == 0 for one in network.probe.deliveries)


def assert_undirected(network: HostileNetwork, *attackers: Attacker) -> None:
    """Both know where the other is, or nothing, and no hostile node got a packet meant for them."""
    for host in (A, B):
        assert network.believed_coords(host) in (None, network.coords(A + B - host))
    for attacker in attackers:
        assert attacker.received[DATA] == attacker.received[CONFIRM] == 0


def kind(frame: bytes) -> int:
    """The first byte of a frame's payload."""
    return decoded(frame).payload[0]


def replaced(frame: bytes, **fields: Any) -> bytes:
    """The same frame with some fields of it changed."""
    value = decoded(frame)
    old = {name: getattr(value, name) for name in _FIELDS}
    return encode_frame(TrafficFrame(**old | fields))


_FIELDS = ("destination", "source", "destination_key", "source_key", "watermark", "payload")
