# SPDX-License-Identifier: Apache-2.0
"""Bytes per second of each link, from counters read once a second."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

WINDOW = 6
"""Samples kept of each link: the oldest is about five seconds old."""


class Sample(NamedTuple):
    """The byte counters of a link at one moment (seconds)."""

    seconds: float
    rx_bytes: int
    tx_bytes: int


class RateMeter:
    """Holds the last samples of the links that are there now, and of no others."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[Sample]] = {}

    def sample(self, rows: Iterable[tuple[int, Sample]]) -> None:
        """Take the counters of all links: (link, sample). Links that are not among them are forgotten."""
        before = self._samples
        self._samples = {}
        for link, sample in rows:
            kept = before.get(link) or deque(maxlen=WINDOW)
            kept.append(sample)
            self._samples[link] = kept

    def rates(self, link: int, latest: Sample) -> tuple[float, float] | None:
        """Received and sent bytes per second between the oldest sample and `latest`.

        None while a link is too young for a sample of at least half a second ago.
        """
        kept = self._samples.get(link)
        if not kept:
            return None
        oldest = kept[0]
        elapsed = latest.seconds - oldest.seconds
        if elapsed < 0.5:
            return None
        received = (latest.rx_bytes - oldest.rx_bytes) / elapsed
        sent = (latest.tx_bytes - oldest.tx_bytes) / elapsed
        return max(received, 0.0), max(sent, 0.0)
