# SPDX-License-Identifier: Apache-2.0
"""Listener, gate, dialler, driver and the real node together, over the loopback interface."""

import asyncio
import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any, cast

import pytest
import uvloop

from pineconed.daemon.driver import Driver
from pineconed.daemon.time_source import read_now
from pineconed.node import Node
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Party
from pineconed.router.events import Event, LinkAnnounced, LinkDown, LinkUp
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.transport import resolve as resolve_module
from pineconed.transport.connect import Connector
from pineconed.transport.dialer import Dialer, DialSettings, DialState
from pineconed.transport.gate import AcceptGate, AcceptLimits, Refusal, Visit
from pineconed.transport.listener import Listener
from pineconed.transport.stream import SocketStream
from pineconed.transport.tcp_place import TcpPlace
from pineconed.transport.uri import parse_peer_uri
from pineconed.transport.websocket.running import RunningPumps
from pineconed.tun.device import TunDevice
from pineconed.wire.handshake import encode_handshake
from tests.unit.device import Device
from tests.unit.waiting import until

FAST = DialSettings(backoff_min=0.05, backoff_max=0.2, connect_timeout=2)


class Host:
    """One daemon without configuration and admin socket."""

    def __init__(self, name: str, limits: AcceptLimits | None = None) -> None:
        seed = hashlib.sha256(name.encode()).digest()
        self.signer = Ed25519Signer(seed)
        self.node = Node(
            signer=self.signer,
            verifier=verify_ed25519,
            party=Party(Ed25519Identity(seed), secrets.token_bytes),
            flow_key=bytes(16),
            now=read_now(),
        )
        self.driver = Driver(self.node, read_now, asyncio.get_running_loop())
        self.gate = AcceptGate(time.monotonic, limits)
        self.dialer = Dialer(Connector(self.signer, RunningPumps()).connect, self.driver.attach, FAST)
        self.events: list[Event] = []
        for callback in (self.gate.handle_event, self.dialer.handle_event, self.events.append):
            self.driver.subscribe(callback)
        self.device = Device()
        self.driver.attach_tun(cast("TunDevice", self.device))
        self.driver.start()
        self._listeners: list[Listener] = []

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open a listener and return its port."""
        listener = Listener(TcpPlace(host, port), self.gate, self._take_in)
        await listener.start()
        self._listeners.append(listener)
        return int(listener.address.rpartition(":")[2])

    def _take_in(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        options = LinkOptions(PeerType.REMOTE, "", f"tcp://{remote}", Direction.INBOUND)
        visit.opened(self.driver.attach(SocketStream(accepted, remote), options))

    def packet_to(self, other: "Host", payload: bytes) -> bytes:
        header = b"\x60\0\0\0" + len(payload).to_bytes(2) + b"\x3b\x40"
        return header + self.node.address + other.node.address + payload

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def stop_listening(self) -> None:
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()

    async def close(self) -> None:
        await self.dialer.close()
        await self.stop_listening()
        self.driver.close("the test is over")
        self.device.close()


Check = Callable[..., Coroutine[Any, Any, None]]


def run(check: Check, *names: str, loop: Callable[[], Any] = uvloop.new_event_loop, **options: Any) -> None:
    """Run a check with hosts of these names, and close them."""

    async def with_hosts() -> None:
        hosts = [Host(name, **options) for name in names]
        try:
            await check(*hosts)
        finally:
            for host in hosts:
                await host.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(with_hosts())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_two_nodes_carry_packets_both_ways(host: str, loop: Callable[[], Any]) -> None:
    async def check(one: Host, two: Host) -> None:
        port = await one.listen("::" if host == "::1" else "127.0.0.1")
        two.dialer.add(
            parse_peer_uri(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"), "flag"
        )
        await until(lambda: one.count(LinkAnnounced) and two.count(LinkAnnounced))
        assert two.dialer.peers()[0].state is DialState.UP
        for size in (1, 1400, 60000):
            one.device.emit(one.packet_to(two, bytes(size)))
            two.device.emit(two.packet_to(one, bytes(size)))
        await until(lambda: len(one.device.written) == len(two.device.written) == 3)
        assert [len(packet) - 40 for packet in two.device.written] == [1, 1400, 60000]
        (peering,) = two.node.peerings(read_now())
        stream = two.driver.stream_of(peering.link)
        assert stream is not None
        assert stream.rtt()
        assert one.gate.half_open == 0

    run(check, "one", "two", loop=loop)


def test_a_peer_that_restarts_is_found_again() -> None:
    async def check(one: Host, two: Host) -> None:
        port = await one.listen()
        two.dialer.add(parse_peer_uri(f"127.0.0.1:{port}"), "file")
        await until(lambda: two.count(LinkAnnounced))
        await one.stop_listening()
        for peering in one.node.peerings(read_now()):
            one.driver.detach(peering.link, "going away")
        await until(lambda: two.dialer.peers()[0].attempts >= 3)
        assert "connection refused" in str(two.dialer.peers()[0].last_error)
        await one.listen(port=port)
        await until(lambda: two.count(LinkAnnounced) == 2)
        assert two.dialer.peers()[0].attempts == 0

    run(check, "one", "two")


def test_a_name_is_looked_up_at_every_try(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    original = resolve_module._look_up

    def look_up(host: str, port: int, flags: int = 0) -> Any:
        if host != "moving.example":
            return original(host, port, flags)
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no literal")
        return original(moved.pop(0), port)

    monkeypatch.setattr(resolve_module, "_look_up", look_up)

    async def check(one: Host, two: Host) -> None:
        port = await one.listen()
        two.dialer.add(parse_peer_uri(f"moving.example:{port}"), "file")
        await until(lambda: two.count(LinkAnnounced))
        assert moved == []

    run(check, "one", "two")


def test_a_node_that_dials_itself_waits_longer_and_longer() -> None:
    async def check(one: Host) -> None:
        one.dialer.add(parse_peer_uri(f"127.0.0.1:{await one.listen()}"), "file")
        await until(lambda: one.dialer.peers()[0].attempts >= 3)
        assert one.count(LinkUp) == 0
        assert one.count(LinkDown) >= 4

    run(check, "one")


async def come_in_numbers(port: int, count: int) -> ExitStack:
    """Connect so many times with a key each; the stack holds the connections."""
    loop, crowd = asyncio.get_running_loop(), ExitStack()
    for number in range(count):
        guest = crowd.enter_context(socket.create_connection(("127.0.0.1", port)))
        guest.setblocking(False)
        with suppress(ConnectionResetError):
            await loop.sock_sendall(guest, encode_handshake(Ed25519Signer(number.to_bytes(32))))
    return crowd


def test_a_crowd_from_one_address_leaves_room_for_configured_peers() -> None:
    async def check(one: Host, two: Host) -> None:
        port = await one.listen()
        one.node.configured_peers = 1
        crowd = await come_in_numbers(port, 300)
        await until(lambda: one.gate.accepted + sum(one.gate.refusals.values()) == 300)
        await until(lambda: one.gate.half_open == 0)
        assert one.gate.refusals[Refusal.LINKS_SOURCE] > 0
        assert len(one.node.peerings(read_now())) == 64
        one.dialer.add(parse_peer_uri(f"127.0.0.1:{await two.listen()}"), "file")
        await until(lambda: one.count(LinkAnnounced) and two.count(LinkAnnounced))
        one.device.emit(one.packet_to(two, b"still here"))
        await until(lambda: two.device.written)
        crowd.close()

    run(check, "one", "two", limits=AcceptLimits(1000, 1000, accepts_burst=1000))


def test_a_full_house_has_a_port_for_a_configured_peer() -> None:
    """Without a bound per source one address takes every port that is not kept."""

    async def check(one: Host, two: Host) -> None:
        port = await one.listen()
        one.node.configured_peers = 1
        crowd = await come_in_numbers(port, 253)
        await until(lambda: one.gate.accepted == 253 and one.gate.half_open == 0)
        assert len(one.node.peerings(read_now())) == 253 - 16
        one.dialer.add(parse_peer_uri(f"127.0.0.1:{await two.listen()}"), "file")
        await until(lambda: one.dialer.peers()[0].state is DialState.UP)
        crowd.close()

    unbounded = AcceptLimits(1000, 1000, 1000, accepts_burst=1000)
    run(check, "one", "two", limits=unbounded)
