# SPDX-License-Identifier: Apache-2.0
"""The API over real nodes: three in a line, in memory, the middle one asked."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from pineconed.admin import requests
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.identifier import address_text
from pineconed.clock import Now
from pineconed.node import Node
from pineconed.overlay.session.identity import Ed25519Identity
from pineconed.overlay.session.party import Party
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.signing import Ed25519Signer, verify_ed25519
from tests.unit.admin.fakes import FakeDialer, FakeDriver, World, served
from tests.unit.admin.requests import call
from tests.unit.admin.test_openapi import check

START = Now(1000.0, 1_760_000_000_000)


class Line:
    """Nodes in a row, and a cable between each two neighbours; time passes in steps of half a second."""

    def __init__(self, count: int) -> None:
        self.now = START
        self.nodes = [_node(number) for number in range(count)]
        self.cables: list[tuple[tuple[Node, int], tuple[Node, int]]] = []
        for node in self.nodes:
            node.start(self.now)
        for left, right in zip(self.nodes, self.nodes[1:], strict=False):
            out = LinkOptions(PeerType.REMOTE, "static", "tcp://right:1", Direction.OUTBOUND, configured=True)
            back = LinkOptions(PeerType.REMOTE, "", "tcp://left:1", Direction.INBOUND)
            self.cables.append(
                ((left, left.add_link(out, self.now)), (right, right.add_link(back, self.now)))
            )

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 2)):
            self.now = Now(self.now.seconds + 0.5, self.now.unix_ms + 500)
            for node in self.nodes:
                node.handle_timer(self.now)
            while self._carry():
                pass

    def _carry(self) -> bool:
        moved = False
        for ends in self.cables:
            for (sender, from_link), (receiver, to_link) in (ends, ends[::-1]):
                data = b"".join(bytes(buffer) for buffer in sender.take(from_link, 1 << 20, self.now))
                if data:
                    receiver.receive(to_link, memoryview(data), self.now)
                    moved = True
        return moved


def _node(number: int) -> Node:
    seed = bytes([number]) * 32
    return Node(
        signer=Ed25519Signer(seed),
        verifier=verify_ed25519,
        party=Party(Ed25519Identity(seed), Random(number).randbytes),
        flow_key=bytes(16),
        now=START,
    )


@pytest.fixture
def line() -> Line:
    line = Line(3)
    line.run(20)
    return line


@pytest.fixture
def world(line: Line) -> World:
    world = World(node=line.nodes[1], driver=FakeDriver({}), dialer=FakeDialer([]))  # type: ignore[arg-type]
    world.seconds = line.now.seconds
    return world


@pytest.fixture
def backend(world: World) -> AdminBackend:
    return world.backend()


def test_every_answer_is_as_described(world: World, line: Line, tmp_path: Path) -> None:
    other = line.nodes[0].public_key
    targets = ["/v1/status", "/v1/peers", "/v1/tree", "/v1/snake", "/v1/snake?limit=1", "/v1/version"]
    targets += [
        f"/v1/{name}={node}" for name in ("routes?to", "address?of") for node in (other.hex(), "fd01::1")
    ]
    targets += [f"/v1/routes?to={line.nodes[1].public_key.hex()}"]
    with served(world, tmp_path / "admin.sock") as path:
        for target in targets:
            reply = call(path, "GET", target)
            assert reply.status == 200, reply.body
            check(reply, "GET", target)


def test_all_agree_on_the_root(backend: AdminBackend, line: Line) -> None:
    highest = max(node.public_key for node in line.nodes).hex()
    status = asyncio.run(backend.status(requests.NoParameters()))
    assert (status.root.public_key, status.peers) == (highest, 2)
    tree = backend.tree(requests.NoParameters())
    assert [step.port for step in tree.path] == tree.coords == status.coords
    assert tree.parent == status.parent


def test_peers_are_up_and_count_bytes(backend: AdminBackend, line: Line) -> None:
    rows = backend.peers(requests.PeersQuery())
    assert [(row.port, row.state, row.announced) for row in rows] == [(1, "up", True), (2, "up", True)]
    assert {row.public_key for row in rows} == {line.nodes[n].public_key.hex() for n in (0, 2)}
    for row in rows:
        assert row.rx_protocol_bytes == row.rx_bytes > 0
        assert row.tx_protocol_bytes == row.tx_bytes > 0


def test_the_snake_can_be_paged_by_key(backend: AdminBackend) -> None:
    whole = backend.snake(requests.SnakeQuery())
    assert whole.total == len(whole.entries) > 0
    first = backend.snake(requests.SnakeQuery(limit=1))
    rest = (
        []
        if first.next_cursor is None
        else backend.snake(requests.SnakeQuery(cursor=first.next_cursor)).entries
    )
    assert [*first.entries, *rest] == whole.entries


def test_a_route_to_each_end_names_the_port_there(backend: AdminBackend, line: Line) -> None:
    ports = {row.public_key: row.port for row in backend.peers(requests.PeersQuery())}
    for node in (line.nodes[0], line.nodes[2]):
        route = backend.route(requests.RouteQuery(address_text(node.public_key)))
        assert (route.next_port, route.method) == (ports[node.public_key.hex()], "snake")
        assert backend.address(requests.AddressQuery(route.address)).public_key == node.public_key.hex()
