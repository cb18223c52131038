# SPDX-License-Identifier: Apache-2.0
"""Discovery on real sockets: two nodes at the two ends of a cable in one namespace."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from pineconed.discovery import lan
from pineconed.discovery.beacon import GROUP_PORT, GROUPS, INTERVAL
from pineconed.discovery.beacon_socket import BeaconSocket
from pineconed.discovery.interfaces import IpAddress, change_of
from pineconed.discovery.lan import LanDiscovery, LanSettings
from pineconed.discovery.netlink import scan_interfaces
from pineconed.discovery.policy import Dial, DiscoveryPolicy
from pineconed.discovery.segments import Choice, Segment
from pineconed.router.events import LinkAnnounced, LinkDown, LinkUp
from tests.unit.tun.namespace import in_new_namespace, ip
from tests.unit.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.netns]

LOW, HIGH = b"\x01" * 32, b"\x02" * 32
LOOPS = pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
Loops = Callable[[], asyncio.AbstractEventLoop]


class End:
    """One node: notes what discovery wants, dials whatever is to be dialled as link 1."""

    def __init__(self, key: bytes, device: str, port: int | None = 7000, listen: bool = True) -> None:
        self.dials: list[Dial] = []
        self.closed: list[int] = []
        self.told: list[str] = []
        self.refuses = False
        self.policy = DiscoveryPolicy(key)
        self.settings = LanSettings(port, listen=listen, choice=Choice(include=[device]))
        self.lan = LanDiscovery(self.policy, key, self.settings, self, self, asyncio.get_running_loop().time)

    def look(self) -> None:
        self.lan.handle_change(change_of((), scan_interfaces_elsewhere()))

    async def dial(self, dial: Dial) -> tuple[int, IpAddress]:
        self.dials.append(dial)
        if self.refuses:
            raise OSError("nobody there")
        return 1, dial.segment.address

    def close_link(self, link: int, reason: str) -> None:
        self.closed.append(link)

    def lan_on(self, segment: Segment) -> None:
        self.told.append(f"on {segment.version}")

    def lan_off(self, segment: Segment) -> None:
        self.told.append(f"off {segment.version}")

    def lan_failed(self, segment: Segment, reason: str) -> None:
        self.told.append(reason)

    def lan_dial_failed(self, dial: Dial, reason: str) -> None:
        self.told.append(reason)

    def lan_double(self, segment: Segment, source: IpAddress) -> None:
        self.told.append(f"double {source}")


_SCANNED: list[Any] = []


def scan_interfaces_elsewhere() -> Any:
    """The interfaces as they were before the loop ran: pyroute2 does not work inside one."""
    return _SCANNED[-1]


def cable(check: Callable[[], Coroutine[Any, Any, None]], loops: Loops) -> None:
    """Run the check in a namespace with both ends of a cable, each with an address of both versions."""

    def with_cable() -> None:
        ip("link", "add", "eth0", "type", "veth", "peer", "eth1")
        for number, device in enumerate(("eth0", "eth1"), 1):
            ip("link", "set", device, "addrgenmode", "none")
            ip("address", "add", f"10.0.0.{number}/24", "dev", device)
            ip("link", "set", device, "up")
            ip("address", "add", f"fe80::{number}/64", "dev", device, "nodad")
        scanned = scan_interfaces()
        while not all(found.up or found.loopback for found in scanned):
            time.sleep(0.01)  # the kernel tells of a carrier a moment later
            scanned = scan_interfaces()
        _SCANNED.append(scanned)
        with asyncio.Runner(loop_factory=loops) as runner:
            runner.run(asyncio.wait_for(check(), 20))

    in_new_namespace(with_cable)


@LOOPS
def test_the_lower_key_finds_the_higher_one(loops: Loops) -> None:
    async def check() -> None:
        low, high = End(LOW, "eth0"), End(HIGH, "eth1", port=7001)
        for end in (high, low):
            end.look()
        await until(lambda: len(low.dials) == 1)
        dial = low.dials[0]
        assert (dial.public_key, dial.port, dial.segment.interface) == (HIGH, 7001, "eth0")
        assert str(dial.address) in {"fe80::2", "10.0.0.2"}
        low.lan.handle_event(LinkUp(1, 1, HIGH))
        low.lan.handle_event(LinkAnnounced(1, 1, HIGH))
        await asyncio.sleep(INTERVAL + 0.2)
        assert (len(low.dials), high.dials) == (1, [])
        row = next(row for row in low.lan.snapshot() if row.interface == "eth0")
        assert (row.used, row.peers, row.waiting) == (True, 1, 0)
        assert row.beacons_heard >= 2
        low.lan.handle_event(LinkDown(1, 1, HIGH, "over"))
        low.lan.apply(LanSettings(None, on=False))
        heard = low.policy.counters["beacons_heard"]
        await asyncio.sleep(INTERVAL * 1.2)
        assert low.policy.counters["beacons_heard"] == heard
        for end in (high, low):
            await end.lan.close()
        assert sorted(low.told) == ["off 4", "off 6", "on 4", "on 6"]

    cable(check, loops)


@LOOPS
def test_one_that_does_not_listen_and_one_that_tells_nothing(loops: Loops) -> None:
    async def check() -> None:
        deaf, mute = End(LOW, "eth0", listen=False), End(HIGH, "eth1", port=None)
        for end in (mute, deaf):
            end.look()
        await until(lambda: len(mute.dials) == 1)
        assert deaf.dials == []
        assert deaf.policy.counters == {}
        assert mute.lan.snapshot()[2].beacons_sent == 0
        for end in (mute, deaf):
            await end.lan.close()

    cable(check, loops)


@LOOPS
def test_a_socket_that_closes_by_itself_is_opened_anew(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan, "RETRY", 0.05)
    monkeypatch.setattr(lan, "INTERVAL", 0.05)
    opened: list[BeaconSocket] = []

    async def note(segment: Segment) -> BeaconSocket:
        opened.append(await open_socket(segment))
        return opened[-1]

    open_socket = BeaconSocket.open
    monkeypatch.setattr(BeaconSocket, "open", note)

    async def check() -> None:
        end = End(LOW, "eth0", listen=False)
        end.look()
        await until(lambda: len(opened) == 2)
        for each in opened:
            each.close()
        await until(lambda: len(opened) == 4)
        await end.lan.close()

    cable(check, loops)


@LOOPS
def test_a_flood_is_dropped_by_the_kernel(loops: Loops) -> None:
    async def check() -> None:
        end = End(LOW, "eth0", port=None)
        end.look()
        await until(lambda: sorted(end.told) == ["on 4", "on 6"])
        index = socket.if_nametoindex("eth1")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as forger:
            forger.setblocking(False)
            began = asyncio.get_running_loop().time()
            while (passed := asyncio.get_running_loop().time() - began) < 2:
                for _ in range(100):
                    forger.sendto(LOW[:1] + os.urandom(33), (str(GROUPS[6]), GROUP_PORT, 0, index))
                await asyncio.sleep(0.005)
        counters = end.policy.counters
        heard = sum(count for name, count in counters.items() if name.startswith("beacons_"))
        assert counters["floods"] >= 3
        assert heard <= 2 * (200 + 2000 * passed)
        await end.lan.close()

    cable(check, loops)


@LOOPS
def test_an_interface_that_is_gone_is_tried_again(loops: Loops) -> None:
    """The news of it may come late: until then the log tells what is wrong."""

    async def check() -> None:
        end = End(LOW, "eth0")
        ip("link", "del", "eth0")
        end.look()
        await until(lambda: len(end.told) == 2)
        assert end.told == ["No such device", "No such device"]
        assert [row.reason for row in end.lan.snapshot() if row.used] == ["No such device"]
        await end.lan.close()

    cable(check, loops)


@LOOPS
def test_a_dial_that_fails_is_told(loops: Loops) -> None:
    async def check() -> None:
        low, high = End(LOW, "eth0"), End(HIGH, "eth1")
        low.refuses = True
        for end in (high, low):
            end.look()
        await until(lambda: "nobody there" in low.told)
        assert low.policy.counters["dials_failed"] == 1
        twin = End(LOW, "eth1")
        twin.look()
        await until(lambda: any(text.startswith("double ") for text in low.told))
        for end in (high, low, twin):
            await end.lan.close()

    cable(check, loops)
