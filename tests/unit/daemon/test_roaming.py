# SPDX-License-Identifier: Apache-2.0
"""Interfaces that come and go, and a host that slept."""

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_address, ip_interface
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pineconed.daemon.driver import Driver
from pineconed.daemon.roaming import Roaming, leads_to
from pineconed.daemon.sleep import Clocks
from pineconed.discovery.interfaces import Interface, Place, change_of
from pineconed.transport.dialer import Dialer
from pineconed.transport.stream import LocalEnd
from pineconed.transport.uri import PeerUri, parse_peer_uri

UP = 0x1 | 0x40
LO = Interface("lo", 1, UP | 0x8, (ip_interface("127.0.0.1/8"),))
TUN = Interface("pine0", 9, UP, (ip_interface("fd57::1/8"),))
NEAR, FAR = parse_peer_uri("tcp://[fe80::1%eth0]:7"), parse_peer_uri("tcp://far:7")


def ethernet(*addresses: str, index: int = 2, flags: int = UP) -> Interface:
    return Interface(f"eth{index - 2}", index, flags, tuple(map(ip_interface, addresses)))


class Bench:
    """Links with local ends, a dialler that notes when and for whom it is asked, and two clocks."""

    def __init__(self, known: tuple[Interface, ...] = (), **links: str | None) -> None:
        self.ends = {number: _end(text) for number, text in enumerate(links.values())}
        self.names = list(links)
        self.closed: list[str] = []
        self.rounds: list[list[PeerUri]] = []
        self.clocks = Clocks(1000.0, 500.0)
        driver = SimpleNamespace(streams=self._streams, detach=self._detach)
        dialer = SimpleNamespace(dial_now=self._dial_now)
        self.roaming = Roaming(
            cast("Driver", driver), cast("Dialer", dialer), known, "pine0", lambda: self.clocks
        )
        self._now: tuple[Interface, ...] = ()

    def become(self, *interfaces: Interface) -> None:
        before, self._now = self._now, interfaces
        self.roaming.handle_change(change_of(before, interfaces))

    def _streams(self) -> list[tuple[int, object]]:
        return [(n, SimpleNamespace(local=lambda end=end: end)) for n, end in self.ends.items()]

    def _detach(self, number: int, reason: str) -> None:
        del self.ends[number]
        self.closed.append(f"{self.names[number]}: {reason}")

    def _dial_now(self, wanted: Callable[[PeerUri], bool] = lambda _: True) -> None:
        self.rounds.append([uri for uri in (NEAR, FAR) if wanted(uri)])


def _end(text: str | None) -> LocalEnd | None:
    if text is None:
        return None
    address, _, scope = text.partition("%")
    return LocalEnd(ip_address(address), int(scope or 0))


def run(check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(check())


@pytest.mark.parametrize(
    "after",
    [
        [LO],
        [LO, ethernet("192.0.2.1/24", "fe80::5/64", flags=0x1)],
        [LO, ethernet("192.0.2.1/24", "fe80::5/64", flags=0)],
        [LO, ethernet("192.0.2.7/24")],
        [LO, ethernet("fe80::5/64", index=3)],
    ],
    ids=["gone", "no carrier", "down", "other address", "the same on another interface"],
)
def test_peerings_of_an_address_that_is_gone_end(after: list[Interface]) -> None:
    async def check() -> None:
        bench = Bench(four="192.0.2.1", six="fe80::5%2", other="198.51.100.1", local="127.0.0.1", pipe=None)
        bench.become(LO, ethernet("192.0.2.1/24", "fe80::5/64"), ethernet("198.51.100.1/24", index=4))
        bench.become(*after, ethernet("198.51.100.1/24", index=4))
        assert bench.closed == [
            "four: eth0 is down or has lost the address 192.0.2.1",
            "six: eth0 is down or has lost the address fe80::5",
        ]

    run(check)


def test_an_address_that_moved_to_another_interface_is_not_gone() -> None:
    async def check() -> None:
        bench = Bench(four="192.0.2.1")
        bench.become(ethernet("192.0.2.1/24"))
        bench.become(ethernet("192.0.2.1/24", index=3))
        assert bench.closed == []

    run(check)


def test_a_network_that_comes_is_dialled_at_once_and_then_once_a_second_at_most() -> None:
    async def check() -> None:
        bench = Bench()
        bench.become(LO, ethernet("192.0.2.1/24"))
        assert bench.rounds == [[NEAR, FAR]]
        for turn in range(4):
            bench.become(LO, ethernet(f"192.0.2.{2 + turn}/24"))
        assert len(bench.rounds) == 1
        await asyncio.sleep(1.1)
        assert bench.rounds == [[NEAR, FAR]] * 2
        bench.roaming.close()

    run(check)


def test_what_leads_nowhere_is_no_network() -> None:
    async def check() -> None:
        bench = Bench()
        bench.become(LO)
        bench.become(LO, TUN)
        bench.become(LO, TUN, ethernet())
        assert bench.rounds == []

    run(check)


def test_what_is_there_from_the_start_is_no_news() -> None:
    async def check() -> None:
        bench = Bench((LO, ethernet("192.0.2.1/24")))
        bench.become(LO, ethernet("192.0.2.1/24"))
        assert bench.rounds == []
        bench.become(LO)
        bench.become(LO, ethernet("192.0.2.1/24"))
        assert len(bench.rounds) == 1

    run(check)


def test_link_local_addresses_lead_to_their_segment() -> None:
    place = Place("eth0", 2, ip_address("fe80::5"))
    bound = parse_peer_uri("tcp://far:7?interface=eth0")
    assert [leads_to([place], uri) for uri in (NEAR, bound, FAR)] == [True, True, False]
    assert leads_to([place, Place("eth1", 3, ip_address("2001:db8::5"))], FAR)


@pytest.mark.parametrize(("slept", "closed"), [(2.0, 0), (5.0, 2), (36000.0, 2)])
def test_after_sleep_peers_are_dialled_and_those_that_gave_us_up_are_dropped(
    slept: float, closed: int
) -> None:
    async def check() -> None:
        bench = Bench(four="192.0.2.1", pipe=None)
        bench.clocks = Clocks(1001.0, 501.0)
        bench.roaming.look_at_clocks()
        assert bench.rounds == []
        bench.clocks = Clocks(1002.0 + slept, 502.0)
        bench.roaming.look_at_clocks()
        assert (len(bench.rounds), len(bench.closed)) == (1, closed)
        bench.roaming.look_at_clocks()
        assert len(bench.rounds) == 1

    run(check)
