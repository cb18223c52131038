# SPDX-License-Identifier: Apache-2.0
"""Whom Bluetooth reads and dials, and when, under a clock of the test's own."""

from itertools import count

import pytest

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.policy import (
    AWAIT,
    FRESH,
    MAX_LINKS,
    MAX_PER_DEVICE,
    MAX_STRANGERS,
    SURPLUS,
    BlePolicy,
    Closing,
    Dial,
)
from pineconed.transport.ble.sightings import (
    BETWEEN_TRIES,
    FIRST_HELD,
    FORGET,
    HELD,
    LONGEST_WAIT,
    MAX_ROWS,
    Fate,
)
from pineconed.transport.ble.value import Value, decode_value, encode_value

LOW, OWN, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
PSM = 0x83


def at(number: int) -> BleAddress:
    octets = number.to_bytes(6, "big")
    return BleAddress(":".join(f"{octet:02X}" for octet in octets), AddressKind.RANDOM)


HERE, THERE = at(1), at(2)


def value(key: bytes, psm: int = PSM) -> bytes:
    return encode_value(Value(psm, key[:18]))


class World:
    """A policy, its clock, and links by number."""

    def __init__(self) -> None:
        self.objections: dict[bytes, str] = {}
        self.policy = BlePolicy(OWN, self.objections.get)
        self.now = 1000.0
        self._numbers = count(1)

    def see(self, address: BleAddress = HERE, rssi: int | None = -60) -> BleAddress | None:
        """An advertisement; who is to be read now."""
        self.policy.sighted(address, rssi, self.now)
        return self.policy.next_read(self.now)

    def read(self, key: bytes, address: BleAddress = HERE) -> Dial | None:
        """See a device and read its value, as the only one that is due."""
        assert self.see(address) == address
        return self.policy.value_read(address, value(key), self.now)

    def dial(self, key: bytes, address: BleAddress = HERE) -> int:
        """Read, dial, and have the channel; its link."""
        dial = self.read(key, address)
        assert dial == Dial(address, PSM, key[:18])
        link = next(self._numbers)
        self.policy.dialled(link, dial)
        return link

    def call(self, address: BleAddress = THERE) -> int:
        assert self.policy.may_accept(address)
        link = next(self._numbers)
        self.policy.accepted(link, address)
        return link

    def up(self, link: int, key: bytes) -> list[Closing]:
        """The handshake and the first announcement."""
        closings = self.policy.link_up(link, key)
        self.policy.link_announced(link)
        return closings

    def down(self, link: int, reason: str = "it ended", fault: bool = False) -> None:
        if fault:
            self.policy.link_at_fault(link, reason)
        self.policy.link_down(link, reason, self.now)

    def fate(self, address: BleAddress = HERE) -> tuple[Fate, str]:
        rows = {row.address: row for row in self.policy.sightings(self.now)}
        return rows[address].fate, rows[address].detail

    def seconds_until_read(self, address: BleAddress = HERE) -> float:
        """How long a device that advertises all the time has to wait, to a tenth of a second."""
        begin = self.now
        while self.see(address) != address:
            self.now += 0.1
            assert self.now < begin + 1000
        return round(self.now - begin, 1)


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------- values


def test_a_value_is_the_psm_and_18_bytes_of_the_key() -> None:
    assert encode_value(Value(0x0083, HIGH[:18])) == b"\x00\x83" + b"\x03" * 18
    assert decode_value(b"\x00\x83" + b"\x03" * 18) == Value(0x83, HIGH[:18])


@pytest.mark.parametrize("size", [0, 2, 19, 21, 34])
def test_bytes_of_another_length_are_no_value(size: int) -> None:
    assert decode_value(bytes(size)) is None


# ---------------------------------------------------------------- who dials


def test_the_lower_key_dials_the_higher(world: World) -> None:
    assert world.read(HIGH) == Dial(HERE, PSM, HIGH[:18])
    assert world.fate() == (Fate.DIALLING, "")


def test_the_higher_key_waits_for_the_lower(world: World) -> None:
    assert world.read(LOW) is None
    assert world.fate()[0] is Fate.AWAITED
    assert world.seconds_until_read() == pytest.approx(AWAIT, abs=0.2)


@pytest.mark.parametrize(("eighteenth", "dials"), [(1, False), (3, True)])
def test_keys_that_only_differ_behind_16_bytes_are_told_apart(eighteenth: int, dials: bool) -> None:
    """An application that compares 16 bytes takes the other for itself; one that compares 18 does not."""
    world = World()
    other = OWN[:17] + bytes([eighteenth]) + OWN[18:]
    assert (world.read(other) is not None) is dials


def test_16_bytes_give_the_same_order_as_18_in_every_other_case(world: World) -> None:
    other = OWN[:15] + b"\x03" + bytes(16)
    assert world.read(other) is not None
    assert (OWN[:16] < other[:16]) is (OWN[:18] < other[:18]) is True


def test_ones_own_value_is_ignored(world: World) -> None:
    assert world.read(OWN) is None
    assert world.fate() == (Fate.OWN, "it has this node's own key")
    assert world.seconds_until_read() == pytest.approx(HELD, abs=0.2)


def test_values_of_two_bytes_are_ignored(world: World) -> None:
    assert world.see() == HERE
    assert world.policy.value_read(HERE, b"\x00\x83", world.now) is None
    assert world.fate()[0] is Fate.TOO_OLD
    assert world.seconds_until_read() == pytest.approx(HELD, abs=0.2)


@pytest.mark.parametrize(
    ("data", "detail"),
    [(b"", "its value has 0 bytes, not 20"), (bytes(20), "its value names no PSM")],
)
def test_what_is_no_value_is_read_again_later(world: World, data: bytes, detail: str) -> None:
    assert world.see() == HERE
    assert world.policy.value_read(HERE, data, world.now) is None
    assert world.fate() == (Fate.FAILED, detail)
    assert world.seconds_until_read() == pytest.approx(BETWEEN_TRIES, abs=0.2)


def test_a_node_that_may_be_no_peer_is_not_dialled_until_the_rules_change(world: World) -> None:
    world.objections[HIGH[:18]] = "blocked"
    assert world.read(HIGH) is None
    assert world.fate() == (Fate.NOT_ALLOWED, "blocked")
    assert world.see() is None
    world.objections.clear()
    world.policy.reconsider()
    assert world.read(HIGH) is not None


# ---------------------------------------------------------------- one peering per key


def test_a_peer_is_left_alone(world: World) -> None:
    link = world.dial(HIGH)
    assert world.up(link, HIGH) == []
    assert world.fate() == (Fate.PEERED, "")
    world.now += 100
    assert world.see() is None


def test_a_peer_that_rotates_its_address_is_read_once_and_not_dialled(world: World) -> None:
    world.up(world.dial(HIGH), HIGH)
    world.now += 900
    assert world.read(HIGH, THERE) is None
    assert world.fate(THERE) == (Fate.PEERED, "")
    for _ in range(100):
        world.now += 1
        assert world.see(THERE) is None


def test_two_sightings_of_one_node_make_one_dial(world: World) -> None:
    link = world.dial(HIGH, HERE)
    assert world.read(HIGH, THERE) is None  # the handshake of the first is under way
    assert world.up(link, HIGH) == []
    assert world.see(THERE) is None


def test_a_second_peering_to_the_same_key_is_closed(world: World) -> None:
    first = world.dial(HIGH)
    world.up(first, HIGH)
    second = world.call()
    assert world.policy.link_up(second, HIGH) == [Closing(second, SURPLUS)]
    world.down(second)
    assert world.policy.links() == [first]


def test_a_node_that_called_is_not_dialled(world: World) -> None:
    world.up(world.call(THERE), HIGH)
    assert world.read(HIGH, HERE) is None
    assert world.fate() == (Fate.PEERED, "")


def test_a_peer_that_is_lost_is_read_and_dialled_again_soon(world: World) -> None:
    link = world.dial(HIGH)
    world.up(link, HIGH)
    world.now += 60
    world.down(link)
    assert world.seconds_until_read() == pytest.approx(BETWEEN_TRIES, abs=0.2)
    assert world.policy.value_read(HERE, value(HIGH, 0x90), world.now) == Dial(HERE, 0x90, HIGH[:18])


def test_a_peer_that_called_and_is_lost_is_read_again_soon_by_all_its_addresses(world: World) -> None:
    assert world.read(LOW) is None
    link = world.call()
    world.up(link, LOW)
    world.down(link)
    assert world.seconds_until_read() == pytest.approx(BETWEEN_TRIES, abs=0.2)


# ---------------------------------------------------------------- failures, lies


def test_the_wait_after_failures_begins_at_2_seconds_and_doubles(world: World) -> None:
    waits = []
    for _ in range(8):
        assert world.see() == HERE
        world.policy.failed(HERE, "no answer within 10 s", world.now)
        waits.append(world.seconds_until_read())
        world.policy.failed(HERE, "no answer within 10 s", world.now)
        world.now += LONGEST_WAIT
    assert waits[0] == pytest.approx(BETWEEN_TRIES, abs=0.2)
    assert max(waits) == pytest.approx(LONGEST_WAIT, abs=0.2)


def test_a_device_that_falls_silent_is_not_connected(world: World) -> None:
    world.policy.sighted(HERE, -60, world.now)
    world.now += FRESH + 0.1
    assert world.policy.next_read(world.now) is None


def test_after_a_failure_a_device_has_to_be_seen_again(world: World) -> None:
    assert world.see() == HERE
    world.policy.failed(HERE, "no answer within 10 s", world.now)
    world.now += BETWEEN_TRIES
    assert world.policy.next_read(world.now) is None
    assert world.see() == HERE


def test_a_peer_that_never_answers_does_not_keep_others_waiting(world: World) -> None:
    """Steps of 10 s on the silent one come between, but never two before the other has had its turn."""
    turns = []
    for _ in range(600):
        for address in (HERE, THERE):
            world.policy.sighted(address, -30 if address is HERE else -90, world.now)
        due = world.policy.next_read(world.now)
        if due is not None:
            turns.append(due)
            world.now += 10
            world.policy.failed(due, "no answer within 10 s", world.now)
        world.now += 0.1
        if len(turns) == 6:
            break
    assert turns == [HERE, THERE] * 3


def test_a_lie_is_held_off_for_longer_each_time(world: World) -> None:
    reason = "another node answered: its key does not begin with ..."
    waits = []
    for _ in range(6):
        link = world.dial(HIGH)
        world.down(link, reason, fault=True)
        assert world.fate() == (Fate.REFUSED, reason)
        begin = world.now
        world.now += 1
        while world.see() is None:
            world.now += 1
        waits.append(world.now - begin)
        world.policy.failed(HERE, "no answer", world.now)
        world.now += LONGEST_WAIT
    assert waits[0] == pytest.approx(FIRST_HELD, abs=1)
    assert waits[-1] == pytest.approx(HELD, abs=1)


def test_who_claims_the_key_of_another_gains_nothing_when_that_one_peers(world: World) -> None:
    liar = world.dial(HIGH, THERE)
    world.down(liar, "it lied", fault=True)
    link = world.dial(HIGH, HERE)
    world.up(link, HIGH)
    world.down(link)
    assert world.fate(THERE) == (Fate.REFUSED, "it lied")
    assert world.see(THERE) is None


def test_a_liar_stays_held_off_when_the_adapter_comes_back(world: World) -> None:
    world.down(world.dial(HIGH), "it lied", fault=True)
    world.policy.begin_anew()
    assert world.see() is None


def test_a_handshake_that_ends_without_a_fault_counts_as_a_failure(world: World) -> None:
    for wait in (2, 4, 8):
        world.down(world.dial(HIGH), "the peer closed the connection")
        assert world.fate() == (Fate.FAILED, "the peer closed the connection")
        world.now += wait - 0.2
        assert world.see() is None
        world.now += 0.2


def test_a_peer_that_closes_right_after_the_handshake_waits_longer_each_time(world: World) -> None:
    """A reference node without a free port does that."""
    for wait in (2, 4, 8):
        link = world.dial(HIGH)
        world.policy.link_up(link, HIGH)
        world.down(link)
        world.now += wait - 0.2
        assert world.see() is None
        world.now += 0.2


# ---------------------------------------------------------------- bounds


def test_500_sightings_a_second_are_bounded_and_do_not_hide_who_is_in_reach(world: World) -> None:
    """A minute of invented addresses; the device in reach advertises ten times a second."""
    numbers = iter(range(100, 100_000))
    reads_of_it = 0
    for tick in range(600):
        for _ in range(50):
            world.policy.sighted(at(next(numbers)), -40, world.now)
        world.policy.sighted(HERE, -90, world.now)
        if tick % 100 == 99:  # each read of one that is not there takes ten seconds
            address = world.policy.next_read(world.now)
            assert address is not None
            reads_of_it += address == HERE
            world.policy.failed(address, "no answer within 10 s", world.now)
        world.now += 0.1
    assert sum(1 for _ in world.policy.sightings(world.now)) == MAX_ROWS
    assert world.policy.counters["sightings"] == 600 * 51
    assert world.policy.counters["sightings_over_limit"] == 600 * 50 + 1 - MAX_ROWS
    assert reads_of_it >= 3


def test_silent_devices_are_forgotten(world: World) -> None:
    world.see()
    world.policy.failed(HERE, "no answer", world.now)
    world.now += FORGET
    world.policy.sweep(world.now)
    assert list(world.policy.sightings(world.now)) == []


def test_those_who_have_to_wait_are_not_forgotten_sooner(world: World) -> None:
    world.read(OWN)
    world.now += HELD - 1
    world.policy.sweep(world.now)
    assert world.fate()[0] is Fate.OWN


def test_one_step_at_a_time(world: World) -> None:
    assert world.see(HERE) == HERE
    assert world.see(THERE) is None
    world.policy.value_read(HERE, value(HIGH), world.now)
    assert world.see(THERE) is None
    world.policy.failed(HERE, "no answer", world.now)
    assert world.see(THERE) == THERE


def test_channels_of_strangers_are_bounded(world: World) -> None:
    links = [world.call(at(number)) for number in range(MAX_STRANGERS)]
    assert not world.policy.may_accept(at(98))
    assert world.policy.counters["channels_over_limit"] == 1
    world.up(links[0], HIGH)
    assert world.policy.may_accept(at(98))


def test_channels_that_one_device_opens_are_bounded_whatever_keys_it_shows(world: World) -> None:
    links = [world.call(THERE) for _ in range(MAX_PER_DEVICE)]
    for number, link in enumerate(links):
        world.up(link, bytes([number]) * 32)
    assert not world.policy.may_accept(THERE)
    assert world.policy.counters["channels_over_limit"] == 1
    assert world.policy.may_accept(HERE)
    world.down(links[0])
    assert world.policy.may_accept(THERE)


def test_channels_are_bounded_in_all(world: World) -> None:
    for number in range(MAX_LINKS):
        world.up(world.call(at(number)), bytes([number]) * 32)
    assert not world.policy.may_accept(at(98))
    assert world.see(at(99)) is None


def test_former_peers_come_first(world: World) -> None:
    link = world.dial(HIGH)
    world.up(link, HIGH)
    world.down(link)
    for number in range(10, 20):
        for _ in range(50):
            world.policy.sighted(at(number), -20, world.now)
    world.now += BETWEEN_TRIES
    assert world.see(HERE) == HERE


def test_the_strongest_signal_is_shown_first(world: World) -> None:
    world.policy.sighted(HERE, -80, world.now)
    world.policy.sighted(THERE, -40, world.now)
    world.policy.sighted(at(3), None, world.now)
    assert [row.address for row in world.policy.sightings(world.now)] == [THERE, HERE, at(3)]
    assert world.policy.rssi(HERE) == -80
