# SPDX-License-Identifier: Apache-2.0
"""The devices that were seen advertising the service, in a table that nobody can overfill."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pineconed.transport.ble.address import BleAddress

MAX_ROWS = 256
"""Devices in all."""

FORGET = 60.0
"""Seconds without an advertisement after which a device is forgotten, unless it has to wait for longer."""

BETWEEN_TRIES = 2.0
LONGEST_WAIT = 60.0
"""Seconds between two tries at one address: at least, and at most; they double with every failure."""

FIRST_HELD = 30.0
HELD = 300.0
"""Seconds for which an address is left alone with which there can be no peering: one that lied or broke a
rule in its handshake for the first at first, doubling up to the second, all others for the second."""


class Fate(StrEnum):
    """What became of a device that was seen."""

    NEW = "new"
    READING = "reading"
    DIALLING = "dialling"
    PEERED = "peered"
    AWAITED = "awaited"
    OWN = "own"
    TOO_OLD = "too-old"
    NOT_ALLOWED = "not-allowed"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(slots=True)
class Row:
    """One address.

    `times`: advertisements since the last try, without which there is no other; `prefix`: that of its key, as
    it was last read.
    `not_before`: when it may be read again. `trusted`: the node with this prefix was once a peer from here.
    `fate` and `detail` tell of the last try, but for PEERED, which comes and goes with peerings.
    """

    address: BleAddress
    heard: float
    rssi: int | None = None
    times: int = 0
    prefix: bytes | None = None
    not_before: float = 0.0
    failures: int = 0
    trusted: bool = False
    fate: Fate = Fate.NEW
    detail: str = ""

    def settle(self, fate: Fate, detail: str, not_before: float) -> None:
        """A try is over."""
        self.fate, self.detail, self.not_before, self.times = fate, detail, not_before, 0

    def fail(self, detail: str, now: float) -> None:
        """A try came to nothing."""
        wait = min(LONGEST_WAIT, BETWEEN_TRIES * 2 ** min(self.failures, 16))
        self.failures += 1
        self.settle(Fate.FAILED, detail, now + wait)

    def refuse(self, detail: str, now: float) -> None:
        """It lied, or did not follow the rules."""
        wait = min(HELD, FIRST_HELD * 2 ** min(self.failures, 16))
        self.failures += 1
        self.trusted = False
        self.settle(Fate.REFUSED, detail, now + wait)


class Sightings:
    """All rows by address. `now` is in seconds of a clock that only moves forward."""

    def __init__(self) -> None:
        self._rows: dict[BleAddress, Row] = {}

    def note(self, address: BleAddress, rssi: int | None, now: float) -> bool:
        """An advertisement was received; False if it displaced another device.

        In a full table the one that was not heard for longest goes, so that a device that advertises all the
        time stays, however many others come once. Those whose key was read go last, and those that have to
        wait do not come back sooner for being displaced: what was found out about them stays longest.
        """
        row = self._rows.pop(address, None)
        full = row is None and len(self._rows) >= MAX_ROWS
        if full:
            self._displace()
        row = self._rows[address] = row or Row(address, now)  # last in the order of the table
        row.heard, row.times = now, row.times + 1
        row.rssi = rssi if rssi is not None else row.rssi
        return not full

    def _displace(self) -> None:
        unread = (row for row in self._rows.values() if row.fate is Fate.NEW)
        failed = (row for row in self._rows.values() if row.fate is Fate.FAILED)
        row = next(unread, None) or next(failed, None) or next(iter(self._rows.values()))
        del self._rows[row.address]

    def get(self, address: BleAddress) -> Row | None:
        """The row of an address."""
        return self._rows.get(address)

    def of_prefix(self, prefix: bytes) -> Iterator[Row]:
        """All addresses of one node, but for those that only said so."""
        rows = self._rows.values()
        return (row for row in rows if row.prefix == prefix and row.fate is not Fate.REFUSED)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def sweep(self, now: float) -> None:
        """Forget those that are silent."""
        for row in list(self._rows.values()):
            if now >= max(row.heard + FORGET, row.not_before):
                del self._rows[row.address]

    def begin_anew(self) -> None:
        """Forget everybody but those that were refused, who wait on."""
        self._rows = {row.address: row for row in self._rows.values() if row.fate is Fate.REFUSED}
