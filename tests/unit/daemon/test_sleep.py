# SPDX-License-Identifier: Apache-2.0
"""That a host was suspended shows in two clocks."""

import pytest

from pineconed.daemon.sleep import Clocks, SleepDetector, read_clocks


def test_awake_both_clocks_move_together() -> None:
    detector = SleepDetector(Clocks(1000.0, 400.0))
    assert [detector.slept(Clocks(1000.0 + n, 400.0 + n * 1.0001)) for n in range(5)] == [0.0] * 5


def test_time_asleep_is_told_once() -> None:
    detector = SleepDetector(Clocks(1000.0, 400.0))
    assert detector.slept(Clocks(8201.0, 401.0)) == pytest.approx(7200)
    assert detector.slept(Clocks(8202.0, 402.0)) == 0.0


def test_a_loop_that_was_late_did_not_sleep() -> None:
    detector = SleepDetector(Clocks(1000.0, 400.0))
    assert detector.slept(Clocks(1060.0, 460.0)) == 0.0


def test_the_clocks_of_this_host() -> None:
    detector = SleepDetector(read_clocks())
    assert detector.slept(read_clocks()) == 0.0
