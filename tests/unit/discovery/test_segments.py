# SPDX-License-Identifier: Apache-2.0
"""Which interfaces discovery uses, and why not the others."""

from ipaddress import ip_address, ip_interface

import pytest

from pineconed.daemon.config import DEFAULT_EXCLUDE, MulticastSection
from pineconed.daemon.lan import choice
from pineconed.discovery.beacon import Beacon, decode_beacon, encode_beacon
from pineconed.discovery.interfaces import Interface, Place, change_of
from pineconed.discovery.segments import MAX_INTERFACES, Choice, judge

ETHERNET = 0x1 | 0x40 | 0x1000
"""Up, with a carrier, multicast."""


def interface(*addresses: str, name: str = "eth0", flags: int = ETHERNET, index: int = 2) -> Interface:
    return Interface(name, index, flags, tuple(ip_interface(address) for address in addresses))


def reason_of(found: Interface, chosen: Choice | None = None) -> str | None:
    return judge([found], chosen or Choice())[0].reason


def sources_of(*addresses: str) -> list[str]:
    return [str(segment.address) for segment in judge([interface(*addresses)], Choice())[0].segments]


class TestSegments:
    @pytest.mark.parametrize(
        ("addresses", "sources"),
        [
            (["fe80::1/64", "10.0.0.1/24"], ["fe80::1", "10.0.0.1"]),
            (["192.168.0.5/24"], ["192.168.0.5"]),
            (["203.0.113.7/29"], ["203.0.113.7"]),
            (["2001:db8::1/64", "fe80::1/64"], ["fe80::1"]),
            (["fd00::1/8", "2001:db8::1/64"], []),
            (["169.254.3.4/16"], []),
            (["127.0.0.2/8", "0.0.0.0/0", "255.255.255.255/32", "224.0.0.5/4"], []),
            (["169.254.3.4/16", "10.0.0.1/24", "10.1.0.1/24"], ["10.0.0.1"]),
            ([], []),
        ],
    )
    def test_one_for_each_version_that_can_be_used(self, addresses: list[str], sources: list[str]) -> None:
        assert sources_of(*addresses) == sources

    def test_an_interface_without_any_has_a_reason(self) -> None:
        assert reason_of(interface("2001:db8::1/64")) == "it has no address that fits"

    def test_hosts_of_every_network_of_the_interface_are_on_the_link(self) -> None:
        segment = judge([interface("10.0.0.1/24", "10.1.0.1/31")], Choice())[0].segments[0]
        near = ["10.0.0.2", "10.0.0.254", "10.1.0.0", "10.1.0.1"]
        far = ["10.0.0.0", "10.0.0.255", "10.0.1.1", "fe80::2", "127.0.0.1"]
        assert [address for address in near + far if segment.reaches(ip_address(address))] == near

    @pytest.mark.parametrize(
        ("flags", "reason"),
        [
            (ETHERNET & ~0x1, "it is down"),
            (ETHERNET & ~0x40, "it is down"),
            (ETHERNET | 0x10, "it leads to a single host"),
            (ETHERNET | 0x8, "it leads to this host"),
            (ETHERNET & ~0x1000, "it cannot multicast"),
        ],
    )
    def test_kinds_that_do_not_suit(self, flags: int, reason: str) -> None:
        assert reason_of(interface("10.0.0.1/24", flags=flags)) == reason

    def test_there_are_not_too_many(self) -> None:
        every = [
            interface("10.0.0.1/24", name=f"eth{number}", index=number)
            for number in range(MAX_INTERFACES + 2)
        ]
        down = interface("10.0.0.1/24", name="eth99", index=99, flags=ETHERNET & ~0x1)
        *verdicts, last = judge([*every, down], Choice())
        assert sum(bool(found.segments) for found in verdicts) == MAX_INTERFACES
        assert verdicts[-1].reason == "64 others are in use, the most that there may be"
        assert last.reason == "it is down"


class TestChoice:
    @pytest.mark.parametrize(
        ("include", "exclude", "used"),
        [
            ((), DEFAULT_EXCLUDE, ["eth0", "wlan0"]),
            (("veth*", "eth0"), DEFAULT_EXCLUDE, ["eth0", "veth1"]),
            (("*",), ("eth*", "pine*"), ["wlan0", "veth1"]),
            ((), ("wlan?",), ["eth0", "veth1"]),
            ((), (), ["eth0", "wlan0", "veth1"]),
            (("ETH0",), (), []),
        ],
    )
    def test_names(self, include: tuple[str, ...], exclude: tuple[str, ...], used: list[str]) -> None:
        chosen = choice(MulticastSection(include=include, exclude=exclude), "pine0")
        names = ["eth0", "wlan0", "veth1", "pine0"]
        assert [name for name in names if chosen.objection(name) is None] == used

    @pytest.mark.parametrize(
        "name",
        ["docker0", "veth1a2b3c4", "br-0123456789ab", "virbr0", "lxcbr0", "cni0", "wg0", "tun0", "tap0"],
    )
    def test_containers_machines_and_vpns_are_left_out_by_default(self, name: str) -> None:
        found = interface("10.0.0.1/24", name=name)
        assert reason_of(found, choice(MulticastSection(), "pine0")) == "its name is in multicast.exclude"
        assert reason_of(found, choice(MulticastSection(include=(name,)), "pine0")) is None

    def test_its_own_is_left_out_whatever_is_said(self) -> None:
        for section in (MulticastSection(include=("*",)), MulticastSection(include=("pine0",), exclude=())):
            found = interface("10.0.0.1/24", "fe80::1/64", name="pine0")
            assert reason_of(found, choice(section, "pine0")) == "it is this node's own"

    def test_the_reasons(self) -> None:
        chosen = Choice(include=["eth*"], exclude=["eth1"], never=frozenset({"eth2"}))
        assert (
            reason_of(interface("10.0.0.1/24", name="wlan0"), chosen)
            == "its name is not in multicast.include"
        )
        assert reason_of(interface("10.0.0.1/24", name="eth1"), chosen) == "its name is in multicast.exclude"
        assert reason_of(interface("10.0.0.1/24", name="eth2"), chosen) == "it is this node's own"


class TestChanges:
    def test_places_come_and_go_with_addresses_and_interfaces(self) -> None:
        one = Place("eth0", 2, ip_address("10.0.0.1"))
        two = Place("eth0", 2, ip_address("fe80::1"))
        both = interface("10.0.0.1/24", "fe80::1/64")
        down = interface("10.0.0.1/24", "fe80::1/64", flags=ETHERNET & ~0x40)
        for before, after, came, went in (
            ((), (both,), (one, two), ()),
            ((both,), (interface("fe80::1/64"),), (), (one,)),
            ((both,), (down,), (), (one, two)),
            ((down,), (both,), (one, two), ()),
            ((both,), (), (), (one, two)),
        ):
            change = change_of(before, after)
            assert (change.interfaces, change.came, change.went) == (after, came, went)


class TestBeacon:
    def test_34_bytes(self) -> None:
        assert encode_beacon(Beacon(b"k" * 32, 0x1234)) == b"k" * 32 + b"\x12\x34"

    def test_what_comes_back(self) -> None:
        sent = Beacon(bytes(range(32)), 65535)
        assert decode_beacon(encode_beacon(sent)) == sent
        assert decode_beacon(encode_beacon(sent) + b"tail") == sent
        assert decode_beacon(encode_beacon(sent)[:-1]) is None
