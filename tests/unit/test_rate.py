# SPDX-License-Identifier: Apache-2.0
"""The bucket that bounds signatures to verify and ICMPv6 errors to send."""

import pytest

from pineconed.rate import TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.spend(1, 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert bucket.spend(1, 100.05) == pytest.approx(0.05)
    assert bucket.spend(1, 100.125) == 0.0
    assert bucket.spend(1, 100.125) == pytest.approx(0.075)


def test_a_quiet_time_fills_it_no_further_than_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    for now in (0.0, 1000.0):
        assert bucket.spend(3, now) == 0.0
        assert bucket.spend(1, now) == pytest.approx(0.1)


def test_in_the_long_run_the_rate_holds() -> None:
    bucket = TokenBucket(rate=100, burst=100)
    allowed = sum(bucket.spend(1, 50 + tick / 1000) == 0.0 for tick in range(10_000))
    assert 1090 <= allowed <= 1101


def test_who_waits_as_long_as_told_may_spend() -> None:
    bucket = TokenBucket(rate=500, burst=500)
    now = 1000.0
    bucket.spend(500, now)
    for amount in (1, 3, 7, 265):
        now += bucket.spend(amount, now)
        assert bucket.spend(amount, now) == 0.0
