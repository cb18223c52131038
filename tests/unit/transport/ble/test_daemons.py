# SPDX-License-Identifier: Apache-2.0
"""Two complete daemons that find each other by Bluetooth, on radios in memory."""

import asyncio
import operator
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.overlay.packets import ipv6, ports
from tests.unit.transport.ble.hosts import Host, Place, eventually, seeds
from tests.unit.waiting import until

MEGABYTE = 1_000_000
CHUNK = 1200
WINDOW = 32
"""Packets on the way at a time, as TCP would have it."""

Check = Callable[[Place, Host, Host], Coroutine[Any, Any, None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Check], list[Any]]:
    """Run a check with two daemons, the first of the lower key; all that was logged."""

    async def with_daemons(check: Check) -> None:
        place = Place(monkeypatch, tmp_path)
        low, high = (place.host(name, seed) for name, seed in zip("ab", seeds(), strict=True))
        place.radio.plug_in("a")
        place.radio.plug_in("b")
        async with place.running(low, high):
            await check(place, low, high)

    def run_check(check: Check) -> list[Any]:
        with capture_logs() as lines:
            asyncio.run(asyncio.wait_for(with_daemons(check), 90))
        return lines

    return run_check


async def peered(*hosts: Host) -> None:
    for host in hosts:
        await eventually(host.bluetooth_peers)


def udp(source: Host, destination: Host, number: int, port: int = 7, size: int = CHUNK) -> bytes:
    payload = ports(port, port, size.to_bytes(2) + bytes(2) + number.to_bytes(4).ljust(size - 8, b"x"))
    return ipv6(source.address, destination.address, payload)


async def came(host: Host, count: int) -> None:
    await until(lambda: len(host.device.out) >= count, 20)


async def transfer(source: Host, destination: Host, size: int) -> None:
    """Bring so many bytes over in order, with no more than a window on the way."""
    packets = [udp(source, destination, number) for number in range(size // CHUNK + 1)]
    begin = len(destination.device.out)
    for at in range(0, len(packets), WINDOW // 2):
        source.device.send(packets[at : at + WINDOW // 2])
        await came(destination, begin + max(0, at - WINDOW // 2))
    await came(destination, begin + len(packets))
    assert destination.device.out[begin:] == packets


def test_they_peer_and_exchange_a_megabyte_in_a_session(run: Callable[[Check], list[Any]]) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        await transfer(low, high, MEGABYTE)
        await transfer(high, low, 100_000)
        [of_low], [of_high] = await low.peers(), await high.peers()
        assert (of_low.public_key, of_high.public_key) == (high.key.hex(), low.key.hex())
        assert (of_low.direction, of_high.direction) == ("outbound", "inbound")
        assert (of_low.type, of_low.zone, of_low.scheme, of_low.source) == (
            "bluetooth",
            "ble",
            "ble",
            "bluetooth",
        )
        assert of_low.remote is not None
        assert of_low.uri == f"ble://{of_low.remote}"
        assert of_low.psm is not None
        assert of_low.mtu_in == of_low.mtu_out == 2048
        assert of_low.rssi_dbm is not None
        assert of_low.tx_traffic_bytes > MEGABYTE
        ble = await low.ble()
        assert (ble.advertising, ble.scanning, ble.error) == (True, True, None)
        assert [(row.fate, row.key_prefix) for row in ble.sightings] == [("peered", high.key[:18].hex())]

    run(check)


def test_a_ping_passes_a_flood(run: Callable[[Check], list[Any]]) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        await transfer(low, high, 10_000)
        before = []
        for number in range(5):
            begin = len(high.device.out)
            flood = [udp(low, high, index, port=1000) for index in range(300)]  # three times the queue
            ping = udp(low, high, number, port=2000, size=64)
            low.device.send([*flood, ping])
            await until(partial(operator.contains, high.device.out, ping), 20)
            before.append(high.device.out.index(ping) - begin)
            await until(partial(operator.contains, high.device.out, flood[-1]), 20)
            high.device.out.clear()
        [peer] = await low.peers()
        assert peer.drops["queue_full"] > 0
        assert max(before) <= 20  # of the hundred in the queue

    run(check)


def test_no_traffic_leaves_by_bluetooth_beside_tcp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bluetooth is there first and so has the lower port, and it stays the way to the parent."""

    async def check() -> None:
        place = Place(monkeypatch, tmp_path)
        low, high = (place.host(name, seed) for name, seed in zip("ab", seeds(), strict=True))
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        place.radio.plug_in("a")
        place.radio.plug_in("b")
        async with place.running(low, high):
            await peered(low, high)
            high.with_tcp(port, listens=True)
            low.with_tcp(port, listens=False)
            for host in (high, low):
                host.reload()
            await eventually(lambda: has_tcp(low))
            await eventually(lambda: has_tcp(high))
            await transfer(low, high, 200_000)
            await transfer(high, low, 200_000)
            for host in (low, high):
                by_type = {peer.type: peer for peer in await host.peers()}
                assert by_type["bluetooth"].tx_traffic_bytes == 0
                assert by_type["remote"].tx_traffic_bytes > 200_000

    asyncio.run(asyncio.wait_for(check(), 90))


async def has_tcp(host: Host) -> bool:
    return any(peer.announced and peer.type == "remote" for peer in await host.peers())


def test_a_link_that_is_cut_comes_back(run: Callable[[Check], list[Any]]) -> None:
    async def check(place: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        await place.radio.cut()
        await eventually(lambda: nobody(low))
        await eventually(lambda: nobody(high))
        place.radio.mend()
        await peered(low, high)
        await transfer(low, high, 100_000)

    lines = run(check)
    assert len([line for line in lines if line["event"] == "peering up"]) == 4


async def nobody(host: Host) -> bool:
    return not await host.peers()


def test_an_adapter_that_is_unplugged_and_plugged_in_again(run: Callable[[Check], list[Any]]) -> None:
    async def check(place: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        place.radio.plugged["a"].unplug()
        await eventually(lambda: nobody(low))
        ble = await low.ble()
        assert ble.adapter is not None
        assert (ble.adapter.state, ble.advertising, ble.scanning) == ("missing", False, False)
        place.radio.plug_in("a")
        await peered(low, high)

    lines = run(check)
    told = [line["event"] for line in lines if line.get("adapter") == "bumble:a"]
    assert told == ["Bluetooth is on", "Bluetooth does not work for now", "Bluetooth is on"]


def test_without_an_adapter_the_daemon_runs_and_waits_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def check() -> None:
        place = Place(monkeypatch, tmp_path)
        host = place.host("a", seeds()[0])
        async with place.running(host):
            await eventually(lambda: state(host, "missing"))
            place.radio.plug_in("a")
            await eventually(lambda: state(host, "ready"))

    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(check(), 60))
    [line] = [line for line in lines if line["event"] == "Bluetooth does not work for now"]
    assert line["reason"] == "it cannot be opened: no such device"


async def state(host: Host, wanted: str) -> bool:
    adapter = (await host.ble()).adapter
    return adapter is not None and adapter.state == wanted


def test_a_reload_switches_it_off_and_on(run: Callable[[Check], list[Any]]) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        low.loaded = low.with_ble(low.loaded, enabled=False)
        low.reload()
        await eventually(lambda: nobody(low))
        await eventually(lambda: nobody(high))
        assert not (await low.ble()).enabled
        low.loaded = low.with_ble(low.loaded)
        low.reload()
        await peered(low, high)

    run(check)


def test_a_reload_moves_it_to_another_adapter_and_back(run: Callable[[Check], list[Any]]) -> None:
    """By way of one that is not there, which does no more than leave it without Bluetooth."""

    async def check(place: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        place.radio.plug_in("c")
        for name, was in (("c", "a"), ("nowhere", "c"), ("a", "nowhere")):
            low.loaded = low.with_ble(low.loaded, adapter=f"bumble:{name}")
            low.reload()
            await eventually(
                partial(uses, low, f"bumble:{name}", "missing" if name == "nowhere" else "ready")
            )
            if name == "nowhere":
                await eventually(partial(nobody, low))
                await eventually(partial(nobody, high))
            else:
                await peered(low, high)
                assert place.radio.plugged[name].controller.le_connections
            if was in place.radio.plugged:
                assert not place.radio.plugged[was].controller.le_connections

    run(check)


async def uses(host: Host, name: str, state: str) -> bool:
    adapter = (await host.ble()).adapter
    return adapter is not None and (adapter.name, adapter.state) == (name, state)


def test_a_reload_of_something_else_leaves_it_alone(run: Callable[[Check], list[Any]]) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        low.loaded = low.with_blocked(low.loaded, bytes(32))
        low.reload()
        await asyncio.sleep(1)
        await peered(low, high)

    lines = run(check)
    assert [line["event"] for line in lines if line["event"] == "the configuration is reloaded"]
    assert len([line for line in lines if line["event"] == "peering up"]) == 2


def test_who_does_not_advertise_is_not_found(run: Callable[[Check], list[Any]]) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        high.loaded = high.with_ble(high.loaded, advertise=False)
        high.reload()

        async def silent() -> bool:
            ble = await high.ble()
            return not ble.advertising and ble.scanning

        await eventually(silent)
        assert await high.bluetooth_peers()  # the peering that is there goes on

    run(check)


def test_a_blocked_key_is_neither_dialled_nor_taken_until_it_is_allowed(
    run: Callable[[Check], list[Any]],
) -> None:
    async def check(_: Place, low: Host, high: Host) -> None:
        await peered(low, high)
        for strict, other in ((low, high), (high, low)):
            allowed = strict.loaded
            strict.loaded = strict.with_blocked(allowed, other.key)
            strict.reload()
            await eventually(partial(nobody, strict))
            await eventually(partial(became, strict, "not-allowed"))
            await asyncio.sleep(1)
            assert await nobody(strict)
            strict.loaded = allowed
            strict.reload()
            await peered(low, high)

    lines = run(check)
    refused = [line for line in lines if line["event"] == "handshake failed"]
    assert refused
    assert all("peering.blocked_keys" in line["reason"] for line in refused)


async def became(host: Host, fate: str) -> bool:
    return [row.fate for row in (await host.ble()).sightings] == [fate]
