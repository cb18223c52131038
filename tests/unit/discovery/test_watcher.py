# SPDX-License-Identifier: Apache-2.0
"""Interfaces and addresses that come and go in a namespace, as the watcher tells of them."""

import asyncio
import os
import socket
import time
from ipaddress import ip_interface

import pytest
import structlog

from pineconed.discovery.interfaces import Interface, InterfaceChange
from pineconed.discovery.netlink import scan_interfaces
from pineconed.discovery.watcher import InterfaceWatcher
from tests.unit.tun.namespace import in_new_namespace, ip
from tests.unit.waiting import until

ETH0 = Interface("eth0", 2, 0x1041, (ip_interface("10.0.0.1/24"),))


@pytest.mark.root
@pytest.mark.netns
def test_everything_that_happens_to_an_interface() -> None:
    def check() -> None:
        asyncio.run(watch())

    async def watch() -> None:
        changes: list[InterfaceChange] = []
        watcher = InterfaceWatcher(scan_interfaces, rescan=60)
        watcher.subscribe(changes.append)
        await watcher.start()
        assert [found.name for found in watcher.interfaces] == ["lo"]

        def came() -> set[str]:
            return {str(place.address) for place in changes[-1].came if place.interface == "eth0"}

        def went() -> set[str]:
            return {str(place.address) for place in changes[-1].went if place.interface == "eth0"}

        ip("link", "add", "eth0", "type", "veth", "peer", "far0")
        ip("link", "set", "eth0", "addrgenmode", "none")
        ip("address", "add", "10.0.0.1/24", "dev", "eth0")
        ip("link", "set", "eth0", "up")
        await until(lambda: "eth0" in [found.name for found in watcher.interfaces])
        began = time.monotonic()
        ip("link", "set", "far0", "up")
        await until(lambda: came() == {"10.0.0.1"})
        assert time.monotonic() - began < 1
        ip("address", "add", "fe80::7/64", "dev", "eth0", "nodad")
        await until(lambda: came() == {"fe80::7"})
        ip("address", "del", "10.0.0.1/24", "dev", "eth0")
        await until(lambda: went() == {"10.0.0.1"})
        ip("link", "set", "far0", "down")
        await until(lambda: went() == {"fe80::7"})
        ip("link", "del", "eth0")
        await until(lambda: [found.name for found in watcher.interfaces] == ["lo"])
        count = len(changes)
        await watcher.close()
        ip("link", "set", "lo", "down")
        await asyncio.sleep(0.2)
        assert len(changes) == count

    in_new_namespace(check)


def test_a_late_subscriber_is_told_of_what_there_is() -> None:
    async def watch() -> None:
        watcher = InterfaceWatcher(lambda: (ETH0,))
        await watcher.start()
        changes: list[InterfaceChange] = []
        watcher.subscribe(changes.append)
        assert [place.interface for place in changes[0].came] == ["eth0"]
        await watcher.close()

    asyncio.run(watch())


def test_a_list_that_fails_is_logged_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pineconed.discovery.watcher.RETRY", 0.01)
    answers: list[OSError | tuple[Interface, ...]] = [
        OSError("busy"),
        OSError("busy"),
        (ETH0,),
        OSError("busy"),
    ]

    def scan() -> tuple[Interface, ...]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def watch() -> None:
        watcher = InterfaceWatcher(scan, rescan=0.05)
        await watcher.start()
        await until(lambda: watcher.interfaces == (ETH0,))
        await until(lambda: len(lines) == 2)
        assert watcher.interfaces == (ETH0,)
        await watcher.close()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(watch())
    assert [line["event"] for line in lines] == ["cannot list the network interfaces"] * 2


def test_a_list_that_fails_by_a_mistake_of_ours_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pineconed.discovery.watcher.RETRY", 0.01)
    faults = [ValueError("no address"), ValueError("no address")]

    def scan() -> tuple[Interface, ...]:
        if faults:
            raise faults.pop()
        return (ETH0,)

    async def watch() -> None:
        watcher = InterfaceWatcher(scan)
        await watcher.start()
        await until(lambda: watcher.interfaces == (ETH0,))
        await watcher.close()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(watch())
    assert [(line["log_level"], str(line["exc_info"])) for line in lines] == [("error", "no address")]


def test_a_kernel_that_tells_nothing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    async def watch() -> None:
        watcher = InterfaceWatcher(lambda: (ETH0,))
        await asyncio.wait_for(watcher.start(), 1)
        await watcher.close()

    monkeypatch.setattr("pineconed.discovery.watcher._news", refused)
    with structlog.testing.capture_logs() as lines:
        asyncio.run(watch())
    assert [line["event"] for line in lines] == ["cannot list the network interfaces"]


def test_nothing_is_left_open() -> None:
    async def watch(start: bool) -> None:
        watcher = InterfaceWatcher(lambda: ())
        if start:
            await watcher.start()
        await watcher.close()

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a number is all that is asked)
    for start in (True, False):
        asyncio.run(watch(start))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
