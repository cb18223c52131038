# SPDX-License-Identifier: Apache-2.0
"""Bytes per second over the last samples."""

import pytest

from pineconed.admin.rates import WINDOW, RateMeter, Sample


def test_a_steady_link() -> None:
    meter = RateMeter()
    for second in range(20):
        meter.sample([(1, Sample(second, 100 * second, 7 * second))])
    assert meter.rates(1, Sample(20, 2000, 140)) == pytest.approx((100.0, 7.0))


def test_only_the_last_five_seconds_count() -> None:
    meter = RateMeter()
    for second in range(10):
        meter.sample([(1, Sample(second, 10_000_000 if second else 0, 0))])
    assert meter.rates(1, Sample(10, 10_000_000 + 600, 0)) == (600 / WINDOW, 0)


def test_a_young_link_has_no_rate() -> None:
    meter = RateMeter()
    assert meter.rates(1, Sample(3, 5, 5)) is None
    meter.sample([(1, Sample(3, 5, 5))])
    assert meter.rates(1, Sample(3.4, 50, 5)) is None
    assert meter.rates(1, Sample(4, 55, 5)) == (50, 0)


def test_links_that_are_gone_are_forgotten() -> None:
    meter = RateMeter()
    meter.sample([(link, Sample(0, 0, 0)) for link in range(1000)])
    meter.sample([(5, Sample(1, 10, 0))])
    assert meter.rates(6, Sample(2, 0, 0)) is None
    assert meter.rates(5, Sample(2, 20, 0)) == (10, 0)
