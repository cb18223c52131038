# SPDX-License-Identifier: Apache-2.0
"""The limit on ICMPv6 errors."""

from pineconed.overlay.rate import TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.allow(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert not bucket.allow(100.05)
    assert bucket.allow(100.125)
    assert not bucket.allow(100.125)


def test_a_quiet_time_fills_it_no_further_than_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    for now in (0.0, 1000.0):
        assert [bucket.allow(now) for _ in range(4)] == [True, True, True, False]


def test_in_the_long_run_the_rate_holds() -> None:
    bucket = TokenBucket(rate=100, burst=100)
    allowed = sum(bucket.allow(50 + tick / 1000) for tick in range(10_000))
    assert 1090 <= allowed <= 1101
