# SPDX-License-Identifier: Apache-2.0
"""Sizes, times and safe text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.cli.units import (
    coords_text,
    duration_text,
    number_plain,
    printable,
    rate_text,
    round_trip_text,
    size_text,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1023.94, "1023.9 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.00031, "0.31 ms"), (0.0124, "12.4 ms"), (0.5, "500.0 ms"), (1.2, "1.20 s")],
)
def test_round_trips(seconds: float | None, text: str) -> None:
    assert round_trip_text(seconds) == text


def test_the_rest() -> None:
    assert (rate_text(None), rate_text(2048)) == ("-", "2.0 KiB/s")
    assert (coords_text(None), coords_text([]), coords_text([3, 1])) == ("-", "[]", "[3,1]")
    assert (number_plain(None), number_plain(100.0), number_plain(1e-6)) == ("-", "100", "0.000001")
    assert number_plain(1234567.25) == "1234567.25"


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()
