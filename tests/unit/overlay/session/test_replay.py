# SPDX-License-Identifier: Apache-2.0
"""The replay window."""

from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.session.replay import WINDOW, ReplayWindow

STEPS = st.integers(-WINDOW - 70, 200) | st.sampled_from(
    [WINDOW - 1, WINDOW, WINDOW + 64, 3 * WINDOW, -WINDOW]
)


def test_every_counter_once() -> None:
    window = ReplayWindow()
    for counter in (0, 1, 63, 64, 5, 8191):
        assert window.admits(counter)
        window.note(counter)
        assert not window.admits(counter)
    assert window.highest == 8191


def test_the_window_is_exactly_8192_wide() -> None:
    window = ReplayWindow()
    window.note(10_000)
    assert window.admits(10_000 - WINDOW + 1)
    assert not window.admits(10_000 - WINDOW)
    window.note(10_000 - WINDOW + 1)
    assert not window.admits(10_000 - WINDOW + 1)


def test_the_last_counter_of_all() -> None:
    window = ReplayWindow()
    window.note(2**64 - 1)
    assert not window.admits(2**64 - 1)
    assert window.admits(2**64 - 2)
    assert not window.admits(0)


def test_looking_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.admits(50_000)
    assert window.admits(0)
    assert window.highest == -1


@given(st.lists(STEPS, max_size=60))
def test_against_a_set(steps: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()
    for step in steps:
        counter = max(0, window.highest + step)
        fresh = counter not in seen and counter > window.highest - WINDOW
        assert window.admits(counter) == fresh
        if fresh:
            window.note(counter)
            seen.add(counter)
        assert window.highest == max(seen)
