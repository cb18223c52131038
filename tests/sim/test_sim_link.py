# SPDX-License-Identifier: Apache-2.0
"""Links and streams by themselves, with recorders in place of hosts: exact times of every byte."""

from random import Random

import pytest

from pineconed.sim.clock import VirtualClock
from pineconed.sim.link import Link, StreamEnd
from pineconed.sim.pipe import STALLED_LIMIT, UNSENT_LIMIT, LinkShape

WHOLE = LinkShape(latency=0.01, cut_probability=0.0)


class Recorder:
    """A stream owner that writes down what happens and when."""

    def __init__(self, clock: VirtualClock) -> None:
        self.alive = True
        self.clock = clock
        self.end: StreamEnd | None = None
        self.heard: list[tuple[float, bytes]] = []
        self.log: list[tuple[float, str]] = []

    def note(self, what: str) -> None:
        self.log.append((round(self.clock.now - 1000.0, 6), what))

    def stream_opened(self, end: StreamEnd) -> None:
        self.end = end
        self.note("opened")

    def stream_received(self, end: StreamEnd, data: bytes) -> None:
        assert end is self.end
        self.heard.append((round(self.clock.now - 1000.0, 6), data))

    def stream_writable(self, end: StreamEnd) -> None:
        assert end is self.end
        self.note("writable")

    def stream_failed(self, end: StreamEnd, reason: str) -> None:
        assert end is self.end
        self.end = None
        self.note(reason)

    def send(self, data: bytes) -> None:
        assert self.end is not None
        self.end.outgoing.send(data)

    def received(self) -> bytes:
        return b"".join(data for _, data in self.heard)


class Pair:
    """Two recorders and the link between them, already connected at 0.02 s."""

    def __init__(self, shape: LinkShape = WHOLE, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.near, self.far = Recorder(self.clock), Recorder(self.clock)
        self.link = Link(self.clock, Random(seed), 0, (self.near, self.far), shape)
        self.link.dial()
        self.clock.run_for(0.02)


def test_connecting_takes_a_round_trip() -> None:
    pair = Pair()
    assert (pair.far.log, pair.near.log) == ([(0.01, "opened")], [(0.02, "opened")])


def test_bytes_take_the_latency() -> None:
    pair = Pair()
    pair.near.send(b"one")
    pair.near.send(b"two")
    pair.clock.run_for(1.0)
    assert pair.far.heard == [(0.03, b"one"), (0.03, b"two")]


def test_bandwidth_spaces_bytes_out() -> None:
    """At 80 kbit/s 1,000 bytes take 0.1 s of serialisation before the 0.01 s of latency."""
    pair = Pair(LinkShape(latency=0.01, bandwidth=80_000, cut_probability=0.0))
    pair.near.send(bytes(1000))
    pair.near.send(bytes(2000))
    pair.clock.run_for(1.0)
    assert [when for when, _ in pair.far.heard] == [0.13, 0.33]


def test_a_full_socket_is_writable_again_when_it_has_drained() -> None:
    """32 KiB at 8 * 16 KiB a second: after 1 s only 16 KiB, the limit, are unsent."""
    pair = Pair(LinkShape(latency=0.01, bandwidth=8 * UNSENT_LIMIT, cut_probability=0.0))
    assert pair.near.end is not None
    pair.near.send(bytes(2 * UNSENT_LIMIT))
    assert not pair.near.end.outgoing.writable()
    pair.clock.run_for(2.0)
    assert pair.near.log[-1] == (1.02, "writable")
    assert pair.near.end.outgoing.writable()


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_survives_being_cut_anywhere(seed: int) -> None:
    pair, rng = Pair(LinkShape(cut_probability=0.9), seed), Random(seed)
    sent = [rng.randbytes(rng.randrange(1, 200)) for _ in range(50)]
    for data in sent:
        pair.near.send(data)
        pair.clock.run_for(rng.random() * 0.002)
    pair.clock.run_for(1.0)
    assert pair.far.received() == b"".join(sent)
    assert len(pair.far.heard) > len(sent)


def test_a_silent_cut_holds_bytes_until_the_next_retransmission() -> None:
    """Held from 0.02 on; TCP repeats after 0.2, 0.6, 1.4 and 3.0 s: mended at 2.02, they leave at 3.02."""
    pair = Pair()
    pair.near.send(b"under way")
    pair.link.cut()
    pair.near.send(b", later")
    pair.clock.run_for(2.0)
    assert pair.far.heard == []
    pair.link.mend()
    pair.clock.run_for(2.0)
    assert pair.far.heard == [(3.03, b"under way"), (3.03, b", later")]
    assert pair.near.log == [(0.02, "opened"), (3.02, "writable")]


def test_a_stalled_socket_fills() -> None:
    pair = Pair()
    assert pair.near.end is not None
    pair.link.cut()
    pair.near.send(bytes(STALLED_LIMIT - 1))
    assert pair.near.end.outgoing.writable()
    pair.near.send(b"1")
    assert not pair.near.end.outgoing.writable()


def test_closing_one_end_tells_the_other_after_the_last_bytes() -> None:
    pair = Pair()
    assert pair.near.end is not None
    pair.near.send(b"last words")
    pair.near.end.close()
    pair.clock.run_for(0.1)
    assert pair.far.heard == [(0.03, b"last words")]
    assert pair.far.log[-1] == (0.03, "end of stream")


def test_closing_during_a_silent_cut_is_not_noticed_until_it_is_mended() -> None:
    pair = Pair()
    assert pair.near.end is not None
    pair.link.redials = False
    pair.link.cut()
    pair.near.end.close()
    pair.clock.run_for(30.0)
    assert pair.far.log == [(0.01, "opened")]
    pair.link.mend()
    pair.clock.run_for(60.0)
    assert "end of stream" in [what for _, what in pair.far.log]


def test_unplugging_fails_both_ends_at_once_and_plugging_dials() -> None:
    pair = Pair()
    pair.near.send(b"lost")
    pair.link.unplug()
    assert (pair.near.log[-1], pair.far.log[-1]) == ((0.02, "connection reset"), (0.02, "connection reset"))
    pair.clock.run_for(10.0)
    assert pair.far.heard == []
    pair.link.plug()
    pair.clock.run_for(0.02)
    assert (pair.near.log[-1], pair.far.log[-1]) == ((10.04, "opened"), (10.03, "opened"))


def test_a_link_that_was_plugged_while_its_stream_stood_is_still_dialled_when_that_ends() -> None:
    pair = Pair()
    assert pair.near.end is not None
    pair.link.redials = True
    pair.near.end.close()
    pair.clock.run_for(0.5)
    pair.link.plug()
    pair.clock.run_for(0.1)
    pair.link.plug()
    pair.link.reset()
    pair.clock.run_for(2.0 + 0.02)
    assert pair.near.log[-1][1] == "opened"


def test_a_reset_stream_is_dialled_again_after_the_first_back_off() -> None:
    """The first back-off is between 1 and 2 s, and then comes a round trip."""
    pair = Pair()
    pair.link.announced()
    pair.link.reset()
    pair.clock.run_for(3.0)
    when, what = pair.near.log[-1]
    assert what == "opened"
    assert 0.02 + 1.0 + 0.02 <= when <= 0.02 + 2.0 + 0.02


def test_back_off_grows_to_its_cap_and_starts_small_after_an_announcement() -> None:
    pair = Pair()
    pair.far.alive = False
    pair.link.reset()
    pair.clock.run_for(600.0)
    pair.far.alive = True
    pair.clock.run_for(60.1)
    assert pair.near.log[-1][1] == "opened"
    pair.link.announced()
    pair.link.reset()
    pair.clock.run_for(2.1)
    assert pair.near.log[-1][1] == "opened"


def test_a_dial_over_a_silent_cut_succeeds_with_a_repeated_request() -> None:
    """Requests are repeated 1, 3 and 7 s after the first; mended after 2 s, the third one gets through."""
    clock = VirtualClock()
    near, far = Recorder(clock), Recorder(clock)
    link = Link(clock, Random(1), 0, (near, far), WHOLE)
    link.cut()
    link.dial()
    clock.run_for(2.0)
    link.mend()
    clock.run_for(3.0)
    assert (near.log, far.log) == ([(3.02, "opened")], [(3.01, "opened")])


def test_a_dial_over_a_silent_cut_gives_up_and_tries_again() -> None:
    clock = VirtualClock()
    near, far = Recorder(clock), Recorder(clock)
    link = Link(clock, Random(1), 0, (near, far), WHOLE)
    link.cut()
    link.dial()
    clock.run_for(9.0)
    link.mend()
    clock.run_for(1.0 + 2.0 + 0.02)
    assert near.log[-1][1] == "opened"
