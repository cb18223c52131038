# SPDX-License-Identifier: Apache-2.0
"""Whom discovery dials, and which peerings it closes, under a clock of the test's own."""

import struct
from ipaddress import IPv4Network, ip_address
from itertools import count

import pytest

from pineconed.discovery.neighbours import (
    DIALS_BURST_PER_ADDRESS,
    FIRST_WAIT,
    FORGET,
    LONGEST_WAIT,
    MAX_ROWS,
    MAX_ROWS_PER_ADDRESS,
)
from pineconed.discovery.policy import (
    DIALS_BURST,
    GONE,
    GRACE,
    MAX_DIALS,
    STEADY,
    SURPLUS,
    Closing,
    Dial,
    DiscoveryPolicy,
)
from pineconed.discovery.segments import Segment

LOW, OWN, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
OURS6, OURS4 = ip_address("fe80::1"), ip_address("10.0.0.1")
THEIRS6, THEIRS4 = ip_address("fe80::2"), ip_address("10.0.0.2")
ETH0_6 = Segment("eth0", 2, 6, OURS6, frozenset({OURS6}))
ETH0_4 = Segment("eth0", 2, 4, OURS4, frozenset({OURS4}), (IPv4Network("10.0.0.0/24"),))
ETH1_6 = Segment("eth1", 3, 6, OURS6, frozenset({OURS6}))


def beacon(key: bytes, port: int = 7000) -> bytes:
    return key + struct.pack(">H", port)


class World:
    """A policy, its clock, and links by number."""

    def __init__(self, own_key: bytes = OWN) -> None:
        self.policy = DiscoveryPolicy(own_key, lambda key: key not in self.unwelcome)
        self.unwelcome: set[bytes] = set()
        self.policy.set_segments([ETH0_6, ETH0_4, ETH1_6])
        self.now = 1000.0
        self.closed: list[Closing] = []
        self._numbers = count(1)

    def hear(
        self, key: bytes, segment: Segment = ETH0_6, source: str | None = None, port: int = 7000
    ) -> Dial | None:
        theirs = ip_address(source) if source else THEIRS6 if segment.version == 6 else THEIRS4
        return self.policy.hear(segment, beacon(key, port), theirs, self.now)

    def must_dial(self, key: bytes, segment: Segment = ETH0_6, source: str | None = None) -> Dial:
        dial = self.hear(key, segment, source)
        assert dial is not None
        return dial

    def open(self, dial: Dial) -> int:
        link = next(self._numbers)
        self.closed = self.policy.dial_opened(
            dial, link, OURS6 if dial.segment.version == 6 else OURS4, self.now
        )
        return link

    def call(self, segment: Segment = ETH0_6) -> int:
        link = next(self._numbers)
        ours, theirs = (OURS6, THEIRS6) if segment.version == 6 else (OURS4, THEIRS4)
        self.policy.called(link, segment, ours, theirs, self.now)
        return link

    def up(self, link: int, key: bytes) -> list[Closing]:
        """The handshake and the first announcement."""
        return self.policy.link_up(link, key) + self.policy.link_announced(link)


@pytest.fixture
def world() -> World:
    return World()


class TestWhomToDial:
    def test_the_lower_key_dials_at_once(self, world: World) -> None:
        assert world.hear(HIGH) == Dial(HIGH, ETH0_6, THEIRS6, 7000)

    def test_the_higher_key_waits_for_the_other(self, world: World) -> None:
        assert world.hear(LOW) is None
        world.now += GRACE - 0.1
        assert world.hear(LOW) is None
        world.now += 0.2
        assert world.hear(LOW) is not None

    def test_the_higher_key_does_not_dial_one_that_is_calling(self, world: World) -> None:
        world.hear(LOW)
        world.now += GRACE
        world.call()
        assert world.hear(LOW) is None

    def test_one_dial_per_node_and_interface_whatever_the_version(self, world: World) -> None:
        world.must_dial(HIGH, ETH0_6)
        assert world.hear(HIGH, ETH0_4) is None
        assert world.hear(HIGH, ETH1_6) is not None

    def test_one_dial_per_address_at_a_time(self, world: World) -> None:
        dial = world.must_dial(HIGH)
        other = b"\x04" * 32
        assert world.hear(other) is None
        world.policy.dial_failed(dial, world.now)
        assert world.hear(other) is not None

    def test_nobody_is_dialled_who_is_connected_there(self, world: World) -> None:
        world.up(world.open(world.must_dial(HIGH)), HIGH)
        for _ in range(20):
            world.now += 2
            assert world.hear(HIGH) is None
            assert world.hear(HIGH, ETH0_4) is None
        assert world.hear(HIGH, ETH1_6) is not None

    def test_nobody_is_dialled_who_called(self, world: World) -> None:
        world.up(world.call(ETH0_4), HIGH)
        assert world.hear(HIGH, ETH0_6) is None

    def test_a_recorded_handshake_from_elsewhere_keeps_nobody_from_being_dialled(self, world: World) -> None:
        link = world.call()
        world.policy.link_up(link, HIGH)
        assert world.hear(HIGH) is None
        dial = world.must_dial(HIGH, source="fe80::3")
        assert world.up(world.open(dial), HIGH) == []

    def test_one_of_another_segment_with_the_same_address_counts_for_itself(self, world: World) -> None:
        world.must_dial(HIGH, ETH0_6)
        assert world.hear(b"\x04" * 32, ETH1_6) is not None

    def test_who_is_not_welcome_is_not_dialled(self, world: World) -> None:
        world.unwelcome = {HIGH}
        assert world.hear(HIGH) is None
        assert world.policy.counters["beacons_not_allowed"] == 1

    def test_the_port_of_the_last_beacon_counts(self, world: World) -> None:
        world.hear(LOW, port=1)
        world.now += GRACE
        dial = world.hear(LOW, port=2)
        assert dial is not None
        assert dial.port == 2


class TestWhatIsNoBeacon:
    @pytest.mark.parametrize(
        ("datagram", "counter"),
        [
            (b"", "beacons_too_short"),
            (beacon(HIGH)[:33], "beacons_too_short"),
            (beacon(HIGH, 0), "beacons_without_port"),
            (beacon(OWN), "beacons_of_own_key_elsewhere"),
        ],
    )
    def test_it_is_counted_and_nothing_else(self, world: World, datagram: bytes, counter: str) -> None:
        assert world.policy.hear(ETH0_6, datagram, THEIRS6, world.now) is None
        assert world.policy.counters == {counter: 1}

    def test_longer_ones_are_beacons(self, world: World) -> None:
        assert world.policy.hear(ETH0_6, beacon(HIGH) + b"more", THEIRS6, world.now) is not None

    def test_our_own_come_back_from_our_own_address(self, world: World) -> None:
        assert world.policy.hear(ETH0_6, beacon(OWN), OURS6, world.now) is None
        assert world.policy.counters == {"beacons_of_own": 1}

    @pytest.mark.parametrize(
        ("segment", "source"),
        [
            (ETH0_4, "10.0.1.2"),
            (ETH0_4, "10.0.0.0"),
            (ETH0_4, "10.0.0.255"),
            (ETH0_4, "192.0.2.1"),
            (ETH0_6, "fd00::2"),
            (ETH0_6, "2001:db8::2"),
            (ETH0_6, "::1"),
        ],
    )
    def test_nobody_off_the_link_is_dialled(self, world: World, segment: Segment, source: str) -> None:
        assert world.hear(HIGH, segment, source) is None
        assert world.policy.counters == {"beacons_from_off_link": 1}


class TestInVain:
    def test_the_wait_doubles(self, world: World) -> None:
        waits = []
        for _ in range(9):
            began = world.now
            while (dial := world.hear(HIGH)) is None:
                world.now += 1
            waits.append(world.now - began)
            world.policy.dial_failed(dial, world.now)
        assert waits == [0, FIRST_WAIT, 8, 16, 32, 64, 128, 256, LONGEST_WAIT]

    def test_a_handshake_that_fails_is_a_failure(self, world: World) -> None:
        link = world.open(world.must_dial(HIGH))
        world.now += 10
        world.policy.link_down(link, world.now)
        assert world.hear(HIGH) is None
        world.now += FIRST_WAIT
        assert world.hear(HIGH) is not None

    def test_another_port_is_tried_soon(self, world: World) -> None:
        dial = world.must_dial(HIGH)
        world.policy.dial_failed(dial, world.now)
        assert world.hear(HIGH, port=7001) is not None

    def test_a_peering_that_ends_early_is_a_failure_too(self, world: World) -> None:
        for wait in (FIRST_WAIT, 2 * FIRST_WAIT):
            link = world.open(world.must_dial(HIGH))
            world.up(link, HIGH)
            world.now += 1
            world.policy.link_down(link, world.now)
            assert world.hear(HIGH) is None
            world.now += wait

    def test_one_that_held_is_dialled_at_the_next_beacon(self, world: World) -> None:
        link = world.open(world.must_dial(HIGH))
        world.up(link, HIGH)
        world.now += STEADY
        world.policy.link_down(link, world.now)
        assert world.hear(HIGH) is not None

    def test_after_a_loss_the_lower_key_has_its_time_again(self, world: World) -> None:
        world.hear(LOW)
        link = world.call()
        world.up(link, LOW)
        world.now += 100
        world.hear(LOW)
        world.policy.link_down(link, world.now)
        assert world.hear(LOW) is None
        world.now += GRACE
        assert world.hear(LOW) is not None


class TestOneTooMany:
    def test_the_higher_key_gives_up_its_own_when_the_others_works(self) -> None:
        for version in (ETH0_6, ETH0_4):
            world = World()
            world.hear(LOW)
            world.now += GRACE
            own = world.open(world.must_dial(LOW))
            assert world.up(own, LOW) == []
            other = world.call(version)
            assert world.policy.link_up(other, LOW) == []
            assert world.policy.link_announced(other) == [Closing(own, SURPLUS)]

    def test_it_does_so_also_when_its_own_comes_second(self, world: World) -> None:
        world.hear(LOW)
        world.now += GRACE
        dial = world.must_dial(LOW)
        world.up(world.call(), LOW)
        own = world.open(dial)
        assert world.policy.link_up(own, LOW) == [Closing(own, SURPLUS)]

    def test_that_costs_no_wait(self, world: World) -> None:
        world.hear(LOW)
        world.now += GRACE
        own = world.open(world.must_dial(LOW))
        other = world.call()
        world.up(own, LOW)
        world.up(other, LOW)
        world.policy.link_down(own, world.now)
        world.policy.link_down(other, world.now)
        world.now += GRACE
        assert world.hear(LOW) is not None

    def test_what_a_node_with_a_lower_key_dialled_is_never_closed(self, world: World) -> None:
        assert world.up(world.call(ETH0_6), LOW) == []
        assert world.up(world.call(ETH0_4), LOW) == []
        assert world.up(world.call(ETH0_6), LOW) == []

    def test_the_lower_key_closes_what_the_other_dialled_to_the_same_address(self, world: World) -> None:
        own = world.open(world.must_dial(HIGH))
        other = world.call(ETH0_6)
        assert world.up(other, HIGH) == []
        assert world.up(own, HIGH) == [Closing(other, SURPLUS)]

    def test_and_leaves_the_zone_of_the_other_version_alone(self, world: World) -> None:
        world.up(world.open(world.must_dial(HIGH)), HIGH)
        assert world.up(world.call(ETH0_4), HIGH) == []

    def test_and_that_of_another_interface(self, world: World) -> None:
        world.up(world.open(world.must_dial(HIGH)), HIGH)
        assert world.up(world.call(ETH1_6), HIGH) == []

    def test_a_link_is_closed_once(self, world: World) -> None:
        own = world.open(world.must_dial(HIGH))
        other = world.call(ETH0_6)
        world.up(other, HIGH)
        assert world.up(own, HIGH) == [Closing(other, SURPLUS)]
        assert world.policy.link_announced(own) == []


class TestInterfaces:
    def test_links_of_an_interface_that_is_gone_are_closed(self, world: World) -> None:
        link = world.open(world.must_dial(HIGH))
        world.up(link, HIGH)
        assert world.policy.set_segments([ETH1_6]) == [Closing(link, GONE)]

    def test_links_of_an_address_that_is_gone_are_closed(self, world: World) -> None:
        six, four = world.call(ETH0_6), world.call(ETH0_4)
        other = ip_address("10.0.0.9")
        moved = Segment("eth0", 2, 4, other, frozenset({other}), ETH0_4.networks)
        assert world.policy.set_segments([ETH0_6, moved]) == [Closing(four, GONE)]
        assert world.policy.set_segments([moved]) == [Closing(six, GONE)]

    def test_one_that_was_dialled_meanwhile_is_closed_too(self, world: World) -> None:
        dial = world.must_dial(HIGH)
        world.policy.set_segments([])
        link = world.open(dial)
        assert world.closed == [Closing(link, GONE)]
        world.policy.link_down(link, world.now)
        world.policy.set_segments([ETH0_6])
        world.now += FIRST_WAIT
        world.open(world.must_dial(HIGH))
        assert world.closed == []

    def test_the_wait_of_an_interface_that_comes_back_begins_anew(self, world: World) -> None:
        world.policy.dial_failed(world.must_dial(HIGH), world.now)
        world.policy.set_segments([])
        world.policy.set_segments([ETH0_6])
        assert world.hear(HIGH) is not None

    def test_a_dial_may_outlive_its_interface(self, world: World) -> None:
        dial = world.must_dial(HIGH)
        world.policy.set_segments([])
        world.policy.dial_failed(dial, world.now)
        world.policy.set_segments([ETH0_6])
        assert world.hear(HIGH) is not None

    def test_where_a_call_belongs(self, world: World) -> None:
        where = world.policy.segment_of
        assert where(OURS4, THEIRS4) is ETH0_4
        assert where(OURS6, THEIRS6, 3) is ETH1_6
        assert where(OURS4, ip_address("192.0.2.1")) is None
        assert where(ip_address("10.0.0.7"), THEIRS4) is None
        assert where(ip_address("fd00::1"), ip_address("fd00::2")) is None
        assert where(OURS6, THEIRS6, 9) is None


class TestBounds:
    def test_invented_keys_from_one_address(self, world: World) -> None:
        """One dial at a time, a few at first, then one every five seconds; eight rows."""
        dials = 0
        for number in range(100_000):
            world.now += 0.001
            dial = world.hear(HIGH[:28] + number.to_bytes(4, "big"))
            if dial is not None:
                dials += 1
                world.policy.dial_failed(dial, world.now)
        assert dials <= DIALS_BURST_PER_ADDRESS + 100 / 5
        assert world.policy.waiting(2) <= MAX_ROWS_PER_ADDRESS

    def test_invented_keys_and_addresses(self, world: World) -> None:
        dials = 0
        for number in range(20_000):
            world.now += 0.0001
            source = f"fe80::1:{number:x}"
            dial = world.hear(HIGH[:28] + number.to_bytes(4, "big"), source=source)
            if dial is not None:
                dials += 1
                world.policy.dial_failed(dial, world.now)
        assert dials <= DIALS_BURST + 2 * 10
        assert world.policy.waiting(2) == MAX_ROWS
        assert world.policy.counters["beacons_over_limit"] == 20_000 - MAX_ROWS

    def test_dials_that_hang(self, world: World) -> None:
        dials = 0
        for number in range(200):
            world.now += 1
            dials += (
                world.hear(HIGH[:28] + number.to_bytes(4, "big"), source=f"fe80::1:{number:x}") is not None
            )
        assert dials == MAX_DIALS

    def test_an_honest_node_gets_its_turn_among_invented_keys_of_its_address(self, world: World) -> None:
        for number in range(200_000):
            world.now += 0.001
            honest = number % 2000 == 0
            dial = world.hear(HIGH if honest else HIGH[:28] + number.to_bytes(4, "big"))
            if dial is not None and dial.public_key == HIGH:
                return
            if dial is not None:
                world.policy.dial_failed(dial, world.now)
        pytest.fail("it was never dialled")

    def test_connected_nodes_need_no_row(self, world: World) -> None:
        world.up(world.call(), HIGH)
        for number in range(MAX_ROWS):
            world.hear(HIGH[:28] + number.to_bytes(4, "big"), source=f"fe80::1:{number:x}")
        world.now += 1
        assert world.hear(HIGH) is None
        assert world.policy.waiting(2) == MAX_ROWS

    def test_who_is_silent_is_forgotten(self, world: World) -> None:
        world.hear(LOW)
        world.now += FORGET
        world.policy.sweep(world.now)
        assert world.policy.waiting(2) == 0

    def test_but_not_its_wait(self, world: World) -> None:
        for _ in range(5):
            while (dial := world.hear(HIGH)) is None:
                world.now += 1
            world.policy.dial_failed(dial, world.now)
        world.now += FORGET
        world.policy.sweep(world.now)
        assert world.hear(HIGH) is None
