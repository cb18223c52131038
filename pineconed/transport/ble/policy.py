# SPDX-License-Identifier: Apache-2.0
"""Whom to read, whom to dial, when to try again, and which peerings are one too many. No I/O, no clock.

A device that is seen is connected once and its value read. Then it is known who it is:

- The node with the lower key prefix dials the one with the higher, which only waits (protocol section 12).
- There is one peering per key, whatever the address; a device whose key is a peer is left alone. Of several
  links to a key the first that announces itself stays: a handshake alone can be a recorded one.
- What was read is not believed: the handshake's key has to begin with it. `Admission` ends the peering
  otherwise, and the address is left alone for longer each time.

One step is made at a time, because a radio can connect to one device at a time. Of those that are due, nodes
that were peers come first, then whoever advertised most often since its last try: a device in reach does
so all the time, and to invent many costs the inventor as much each time. So whoever does not answer, or is
not there at all, takes one step and goes to the end of the queue.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.sightings import BETWEEN_TRIES, HELD, Fate, Row, Sightings
from pineconed.transport.ble.value import PREFIX_LENGTH, VALUE_LENGTH, decode_value

STEP_LIMIT = 10.0
"""Seconds that one read or one dial may take."""

FRESH = 10.0
"""Seconds since its last advertisement for which a device is taken to be in reach."""

AWAIT = 30.0
"""Seconds that the node with the lower key has to dial until it is read again: it may be another by then."""

MAX_LINKS = 32
"""Channels at a time, which is more than radios have."""

MAX_STRANGERS = 8
"""Channels that others opened and on which no handshake is done yet: the addresses are free to choose."""

MAX_PER_DEVICE = 2
"""Channels that one device has opened, peerings or not: one, one more while the first ends."""

SURPLUS = "there is another Bluetooth peering to this node"


class Dial(NamedTuple):
    """A channel to open: the node at this address claims a key that begins so."""

    address: BleAddress
    psm: int
    prefix: bytes


class Closing(NamedTuple):
    """A link to be closed, and why."""

    link: int
    reason: str


@dataclass(slots=True)
class _Link:
    """A channel with a link. `dialled`: what was read, None if the other side opened it."""

    address: BleAddress
    dialled: Dial | None
    public_key: bytes | None = None
    announced: bool = False
    closing: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class SightingSnapshot:
    """A device that was seen. `next_try`: seconds until it may be read again, None if it may now."""

    address: BleAddress
    rssi: int | None
    prefix: bytes | None
    fate: Fate
    detail: str
    heard_ago: float
    next_try: float | None


class BlePolicy:
    """Decides for one node. `now` is in seconds on any scale that only moves forward.

    `objection` says why a node whose key begins so may be no peer, None if it may. `counters` counts what
    became of sightings, reads, dials and channels.
    """

    def __init__(self, own_key: bytes, objection: Callable[[bytes], str | None] = lambda _: None) -> None:
        self.counters: Counter[str] = Counter()
        self._own_prefix = own_key[:PREFIX_LENGTH]
        self._objection = objection
        self._sightings = Sightings()
        self._links: dict[int, _Link] = {}
        self._busy: BleAddress | None = None

    # ---------------------------------------------------------------- whom to read

    def sighted(self, address: BleAddress, rssi: int | None, now: float) -> None:
        """An advertisement with the service was received."""
        self.counters["sightings"] += 1
        if not self._sightings.note(address, rssi, now):
            self.counters["sightings_over_limit"] += 1

    def next_read(self, now: float) -> BleAddress | None:
        """Whom to read now, None if nobody; answer by `value_read` or `failed` before the next."""
        if self._busy is not None or len(self._links) >= MAX_LINKS:
            return None
        peers, linked = self._peers(), {link.address for link in self._links.values()}
        due = [
            row
            for row in self._sightings
            if _is_due(row, now) and row.prefix not in peers and row.address not in linked
        ]
        if not due:
            return None
        row = max(due, key=_urgency)
        row.fate, row.detail = Fate.READING, ""
        self._busy = row.address
        self.counters["reads"] += 1
        return row.address

    def _peers(self) -> set[bytes]:
        """The prefixes of those that have a peering that works, or that are dialled just now."""
        links = self._links.values()
        up = {link.public_key[:PREFIX_LENGTH] for link in links if link.public_key and link.announced}
        return up | {link.dialled.prefix for link in links if link.dialled and not link.public_key}

    def value_read(self, address: BleAddress, data: bytes, now: float) -> Dial | None:
        """The value of a device. Whom to dial, answered by `dialled` or `failed`; None: let go of it."""
        row = self._sightings.get(address) or Row(address, now)
        value = decode_value(data)
        if value is None or value.psm == 0:
            self._reject(row, data, now)
            return None
        row.prefix = value.prefix
        if fate := self._why_not(row, value.prefix, now):
            self._busy = None
            self.counters[f"reads_{fate.replace('-', '_')}"] += 1
            return None
        row.fate = Fate.DIALLING
        self.counters["dials"] += 1
        return Dial(address, value.psm, value.prefix)

    def _reject(self, row: Row, data: bytes, now: float) -> None:
        """What was read is no value."""
        self._busy = None
        if len(data) == 2:
            row.settle(Fate.TOO_OLD, "an application that is too old: its value has 2 bytes", now + HELD)
            self.counters["reads_too_old"] += 1
            return
        what = "names no PSM" if len(data) == VALUE_LENGTH else f"has {len(data)} bytes, not {VALUE_LENGTH}"
        row.fail(f"its value {what}", now)
        self.counters["reads_no_value"] += 1

    def _why_not(self, row: Row, prefix: bytes, now: float) -> Fate | None:
        """Settle a device that is not to be dialled."""
        if prefix == self._own_prefix:
            row.settle(Fate.OWN, "it has this node's own key", now + HELD)
        elif objection := self._objection(prefix):
            row.settle(Fate.NOT_ALLOWED, objection, now + HELD)
        elif prefix in self._peers():
            row.settle(Fate.PEERED, "", now + BETWEEN_TRIES)
        elif prefix < self._own_prefix:
            row.settle(Fate.AWAITED, "its key is lower, so it has to dial", now + AWAIT)
        else:
            return None
        return row.fate

    def failed(self, address: BleAddress, reason: str, now: float) -> None:
        """The read, or the dial, that was begun came to nothing."""
        self._busy = None
        row = self._sightings.get(address)
        dialling = row is not None and row.fate is Fate.DIALLING
        self.counters["dials_failed" if dialling else "reads_failed"] += 1
        if row is not None:
            row.fail(reason, now)

    # ---------------------------------------------------------------- links

    def may_accept(self, address: BleAddress) -> bool:
        """Whether there is room for a channel that this device has opened.

        A radio has few connections, but each may have many channels, and keys are made at no cost.
        """
        opened = [link for link in self._links.values() if not link.dialled]
        strangers = sum(1 for link in opened if not link.public_key)
        same = sum(1 for link in opened if link.address == address)
        room = strangers < MAX_STRANGERS and same < MAX_PER_DEVICE and len(self._links) < MAX_LINKS
        self.counters["channels_accepted" if room else "channels_over_limit"] += 1
        return room

    def accepted(self, number: int, address: BleAddress) -> None:
        """Another device opened a channel, and this is its link."""
        self._links[number] = _Link(address, None)

    def dialled(self, number: int, dial: Dial) -> None:
        """The dial succeeded, and this is its link; the handshake comes now."""
        self._busy = None
        self._links[number] = _Link(dial.address, dial)

    def links(self) -> list[int]:
        """All links that are not being closed."""
        return [number for number, link in self._links.items() if not link.closing]

    def link_up(self, number: int, key: bytes) -> list[Closing]:
        """The handshake on a link is done; the links that are to be closed. Links of others do not matter."""
        link = self._links.get(number)
        if link is None:
            return []
        link.public_key = key
        surplus = any(other.announced for other in self._rivals(number).values())
        return self._close([number]) if surplus else []

    def link_announced(self, number: int) -> list[Closing]:
        """A link has shown that it works; the links that are to be closed."""
        link = self._links.get(number)
        if link is None or link.public_key is None or link.closing:
            return []
        link.announced = True
        for row in self._sightings.of_prefix(link.public_key[:PREFIX_LENGTH]):
            row.trusted = True
        return self._close(self._rivals(number))

    def _rivals(self, number: int) -> dict[int, _Link]:
        """The other links to the same key."""
        key = self._links[number].public_key
        return {
            other: link
            for other, link in self._links.items()
            if other != number and link.public_key == key and not link.closing
        }

    def _close(self, numbers: Iterable[int]) -> list[Closing]:
        for number in numbers:
            self._links[number].closing = True
            self.counters["peerings_surplus"] += 1
        return [Closing(number, SURPLUS) for number in numbers]

    def link_at_fault(self, number: int, reason: str) -> None:
        """The other side of a link broke a rule; it is closed because of that."""
        if link := self._links.get(number):
            link.fault = reason

    def link_down(self, number: int, reason: str, now: float) -> None:
        """A link is gone."""
        link = self._links.pop(number, None)
        if link is None or link.closing:
            return
        if link.announced and link.public_key is not None:
            for known in self._sightings.of_prefix(link.public_key[:PREFIX_LENGTH]):
                known.settle(Fate.FAILED, f"its peering ended: {reason}", now + BETWEEN_TRIES)
                known.failures = 0
        elif link.dialled and (row := self._sightings.get(link.address)):
            self._settle_dial(row, link, reason, now)

    def _settle_dial(self, row: Row, link: _Link, reason: str, now: float) -> None:
        """What was dialled came to nothing after all."""
        if link.public_key is None and link.fault:
            self.counters["peerings_refused"] += 1
            row.refuse(link.fault, now)
        else:
            row.fail(reason, now)

    # ---------------------------------------------------------------- the adapter, and looking

    def begin_anew(self) -> None:
        """The adapter was gone, or scanning begins: what was seen before says nothing now."""
        self._busy = None
        self._sightings.begin_anew()

    def reconsider(self) -> None:
        """Who may peer has changed."""
        for row in self._sightings:
            if row.fate is Fate.NOT_ALLOWED:
                row.not_before = 0.0

    def sweep(self, now: float) -> None:
        """Forget those that are silent; call it now and then."""
        self._sightings.sweep(now)

    def rssi(self, address: BleAddress) -> int | None:
        """How strongly a device was last received, in dBm."""
        row = self._sightings.get(address)
        return row.rssi if row else None

    def sightings(self, now: float) -> Iterator[SightingSnapshot]:
        """Every device that was seen, the strongest first."""
        peers = self._peers()
        for row in sorted(self._sightings, key=lambda row: (-(row.rssi or -999), row.address)):
            peered = row.prefix in peers
            wait = row.not_before - now
            yield SightingSnapshot(
                row.address,
                row.rssi,
                row.prefix,
                Fate.PEERED if peered else row.fate,
                "" if peered else row.detail,
                max(0.0, now - row.heard),
                wait if wait > 0 and not peered else None,
            )


def _is_due(row: Row, now: float) -> bool:
    return row.times > 0 and now >= row.not_before and now - row.heard <= FRESH


def _urgency(row: Row) -> tuple[bool, int, int, BleAddress]:
    return row.trusted and row.failures == 0, row.times, row.rssi or -999, row.address
