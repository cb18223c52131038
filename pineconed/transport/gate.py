# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and how fast: bounds on inbound streams, in all and per source, before a byte is read.

Shared by all listeners of a daemon and never asked about streams that we dial ourselves. A source is one
IPv4 address or one IPv6 /64, because a single host owns a whole /64. A stream is *half-open* from the moment
it is accepted until its handshake is done, whatever comes before that (TLS, HTTP). Memory is bounded by the
streams that are open and by `MAX_REMEMBERED` sources.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pineconed.rate import TokenBucket
from pineconed.router.events import Event, LinkDown, LinkUp

MAX_REMEMBERED = 4096
"""Sources whose rate of accepts is remembered after their last stream is gone."""

REFUSED = 0.1
"""What a refused stream takes of the rate in all, where one that may stay takes 1: about 20 us of 300."""

DAWDLING = 2.0
"""Seconds after which a handshake has taken longer than honest ones do."""

GAVE_WAY = "too many handshakes at once: it gave way to another connection"
"""What is said of a half-open stream that is closed for a new one."""


class Refusal(StrEnum):
    """Why a stream was closed right after it was accepted."""

    HALF_OPEN = "half_open"
    HALF_OPEN_SOURCE = "half_open_source"
    LINKS_SOURCE = "links_source"
    RATE_SOURCE = "rate_source"


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """Bounds for inbound streams.

    half_open: streams whose handshake is not done, from everybody together.
    half_open_per_source: the same from one source.
    links_per_source: all streams from one source, up or half-open. Generous, since a whole site may stand
        behind one address; well under the 253 ports of a node, so that one source cannot take them all.
    accepts_per_second, accepts_burst: a token bucket per source over accepted streams.
    total_accepts_per_second, total_accepts_burst: one over those of everybody together, since a /48 holds
        65,536 sources. Beyond it nobody is refused; all wait in the kernel's backlog.
    """

    half_open: int = 128
    half_open_per_source: int = 16
    links_per_source: int = 64
    accepts_per_second: float = 16.0
    accepts_burst: int = 64
    total_accepts_per_second: float = 100.0
    total_accepts_burst: int = 200


@dataclass(slots=True)
class _Source:
    """What one source has open, and the tokens it had left at `stamp` (seconds)."""

    tokens: float
    stamp: float
    half_open: int = 0
    links: int = 0


class Visit:
    """An admitted stream from its accept to its end; half-open until the handshake of its link is done.

    Whoever serves it calls `opened` once it is a link of the node, whose events tell the rest, or `closed`
    when it ends before that. Until then `give_way`, which is to be set at once, must close it when called.
    `source` is what limits count by, `since` the moment of the accept on the gate's clock, in seconds.
    """

    __slots__ = ("_gate", "give_way", "link", "over", "record", "since", "source")

    def __init__(self, gate: "AcceptGate", source: str, record: _Source, since: float) -> None:
        self._gate = gate
        self.source = source
        self.record = record
        self.since = since
        self.over = False
        self.link: int | None = None
        self.give_way: Callable[[], object] = lambda: None

    def opened(self, link: int) -> None:
        """The stream is this link of the node from now on."""
        self._gate.follow(self, link)

    def closed(self) -> None:
        """The stream has ended without a link; saying so twice does no harm."""
        self._gate.leave(self)


class AcceptGate:
    """Decides on every accepted stream and follows each one until it ends.

    `clock` gives seconds on any scale that only moves forward; `refused` is told the cause and the source
    of each refusal, for the log. `refusals` counts them by cause. When too many streams are half-open, in all
    or of one source, one that dawdles is closed for a new one, lest a few keep everybody else out: by
    `give_way` if it is a link already, else by its visit's. `crowded` is told when streams have to wait, as
    more come than the rate in all allows; `waits` counts it.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        limits: AcceptLimits | None = None,
        refused: Callable[[Refusal, str], None] = lambda _cause, _source: None,
        give_way: Callable[[int], None] = lambda _link: None,
        crowded: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self.limit(limits or AcceptLimits())
        self._crowded = crowded
        self._refused = refused
        self._sources: dict[str, _Source] = {}
        self._give_way = give_way
        self._half_open: dict[Visit, None] = {}
        self._links: dict[int, Visit] = {}
        self.accepted = 0
        self.waits = 0
        self.refusals: dict[Refusal, int] = dict.fromkeys(Refusal, 0)

    def limit(self, limits: AcceptLimits) -> None:
        """Bound streams by these from now on; those that are open stay."""
        self._limits = limits
        self._rate = TokenBucket(limits.total_accepts_per_second, limits.total_accepts_burst)

    @property
    def half_open(self) -> int:
        """Inbound streams whose handshake is not done."""
        return len(self._half_open)

    def reserve(self) -> float:
        """Ask before a stream is accepted: 0 if one may be, or else the seconds to leave it in the backlog.

        After 0 comes `admit` for the stream, or `release` if there was none.
        """
        wait = self._rate.spend(1, self._clock())
        if wait:
            self.waits += 1
            self._crowded()
        return wait

    def release(self) -> None:
        """No stream was there to accept after `reserve`."""
        self._rate.give_back(1)

    def admit(self, name: str) -> Visit | None:
        """The visit of a stream that was just accepted from this source; None if it may not stay.

        A refusal is counted and reported.
        """
        source = self._refilled(name)
        cause = self._objection(source)
        if cause is not None:
            self.refusals[cause] += 1
            self._rate.give_back(1 - REFUSED)
            self._refused(cause, name)
            return None
        source.tokens -= 1
        source.half_open += 1
        source.links += 1
        self.accepted += 1
        visit = Visit(self, name, source, self._clock())
        self._half_open[visit] = None
        return visit

    def follow(self, visit: Visit, link: int) -> None:
        """An admitted stream is now this link of the node, with its handshake before it."""
        visit.link = link
        self._links[link] = visit

    def leave(self, visit: Visit) -> None:
        """An admitted stream has ended without a link."""
        if visit.link is None and not visit.over:
            self._end(visit)

    def handle_event(self, event: Event) -> None:
        """Follow the links of visits: a handshake done, a link gone. Nothing else matters here."""
        if isinstance(event, LinkUp):
            if visit := self._links.get(event.link):
                self._shake_hands(visit)
        elif isinstance(event, LinkDown) and (visit := self._links.pop(event.link, None)):
            self._end(visit)

    def _end(self, visit: Visit) -> None:
        visit.over = True
        self._shake_hands(visit)
        visit.record.links -= 1

    def _shake_hands(self, visit: Visit) -> None:
        if visit in self._half_open:
            del self._half_open[visit]
            visit.record.half_open -= 1

    def _objection(self, source: _Source) -> Refusal | None:
        limits = self._limits
        if source.links >= limits.links_per_source:
            return Refusal.LINKS_SOURCE
        if source.tokens < 1:
            return Refusal.RATE_SOURCE
        if source.half_open >= limits.half_open_per_source and not self._make_room_at(source):
            return Refusal.HALF_OPEN_SOURCE
        if len(self._half_open) >= limits.half_open and not self._make_room(source):
            return Refusal.HALF_OPEN
        return None

    def _make_room(self, newcomer: _Source) -> bool:
        """Close the oldest half-open stream of the source with most of them, or else one that dawdles."""
        most = max((visit.record.half_open for visit in self._half_open), default=0)
        for visit in self._half_open:
            of_a_crowd = visit.record.half_open == most > newcomer.half_open + 1
            if of_a_crowd or self._clock() - visit.since >= DAWDLING:
                self._dismiss(visit)
                return True
        return False

    def _make_room_at(self, source: _Source) -> bool:
        """Close the oldest half-open stream of this source if it dawdles: others may stand behind it, too."""
        oldest = next((visit for visit in self._half_open if visit.record is source), None)
        if oldest is None or self._clock() - oldest.since < DAWDLING:
            return False
        self._dismiss(oldest)
        return True

    def _dismiss(self, visit: Visit) -> None:
        if visit.link is not None:
            self._shake_hands(visit)
            self._give_way(visit.link)
        else:
            visit.give_way()
            self._shake_hands(visit)

    def _refilled(self, name: str) -> _Source:
        """The record of a source with the tokens that it has now."""
        now = self._clock()
        source = self._sources.get(name)
        if source is None:
            self._forget_idle()
            source = self._sources[name] = _Source(self._limits.accepts_burst, now)
        grown = source.tokens + (now - source.stamp) * self._limits.accepts_per_second
        source.tokens = min(grown, self._limits.accepts_burst)
        source.stamp = now
        return source

    def _forget_idle(self) -> None:
        """Make room: when full, forget all sources without streams (their buckets start full again)."""
        if len(self._sources) < MAX_REMEMBERED:
            return
        self._sources = {name: source for name, source in self._sources.items() if source.links}


def source_of(host: str) -> str:
    """What limits count by: the IPv4 address (also a mapped one), or the /64 of an IPv6 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)
