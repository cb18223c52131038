# SPDX-License-Identifier: Apache-2.0
"""What each call answers and changes, without HTTP."""

import asyncio

import pytest

from pineconed.admin import requests, schema
from pineconed.admin.errors import AdminError
from pineconed.admin.handlers import MAX_CONFIGURED_PEERS, AdminBackend
from pineconed.admin.identifier import address_text
from pineconed.admin.schema_ble import BleAdapter
from pineconed.clock import Now
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.ble.bluetooth import BleSnapshot, RadioSnapshot
from tests.unit.admin.fakes import (
    CHILD_KEY,
    OWN_KEY,
    PARENT_KEY,
    ROOT,
    FakeDial,
    World,
    key,
    peering,
    session,
)

NOTHING = requests.NoParameters()


def test_status(backend: AdminBackend) -> None:
    status = asyncio.run(backend.status(NOTHING))
    assert status.public_key == OWN_KEY.hex()
    assert status.address == address_text(OWN_KEY)
    assert (status.coords, status.parent) == ([3, 1], PARENT_KEY.hex())
    assert status.root == schema.Root(ROOT.public_key.hex(), ROOT.sequence)
    assert (status.peers, status.peers_down) == (3, 2)
    assert (status.version, status.uptime_seconds, status.tun) == ("1.2.3", 5000.0, "pine0")
    assert status.listeners == ["tcp://[::]:4444"]
    assert status.inbound == schema.Inbound("filtered", "by table inet pineconed")


def test_status_tells_drops_of_the_node_and_of_the_device(world: World) -> None:
    world.driver.lost = {"tun_refused": 2}
    drops = asyncio.run(world.backend().status(NOTHING)).drops
    assert drops == {**world.node.status(Now(0.0, 0)).drops, "tun_refused": 2}


def test_status_of_a_root_without_a_device(world: World) -> None:
    world.tun_name = None
    world.node.parent = None
    answer = asyncio.run(world.backend().status(NOTHING))
    assert (answer.parent, answer.tun, answer.inbound) == (None, None, None)


# ---------------------------------------------------------------- peers


def test_peers_come_by_port_then_handshakes_then_those_that_are_down(backend: AdminBackend) -> None:
    rows = backend.peers(requests.PeersQuery())
    assert [(row.port, row.state) for row in rows] == [
        (1, "up"),
        (2, "up"),
        (7, "up"),
        (None, "handshake"),
        (None, "connecting"),
        (None, "waiting"),
    ]


def test_a_configured_peering_is_joined_with_its_dial_and_its_stream(backend: AdminBackend) -> None:
    row = backend.peers(requests.PeersQuery(port=1))[0]
    assert (row.source, row.attempts, row.last_error, row.next_try_seconds) == ("file", 0, None, None)
    assert (row.remote, row.rtt_seconds) == ("192.0.2.1:50123", 0.00031)
    assert (row.type, row.zone, row.direction, row.is_parent) == ("remote", "static", "outbound", True)
    assert row.drops == {"queue_full": 12, "no_route": 0}


def test_a_peering_without_dial_and_stream(backend: AdminBackend) -> None:
    row = backend.peers(requests.PeersQuery(port=7))[0]
    assert (row.source, row.attempts, row.remote, row.rtt_seconds) == ("multicast", None, None, None)
    assert (row.type, row.zone) == ("multicast", "eth0")


def test_a_peer_that_is_down_says_why_and_when(backend: AdminBackend) -> None:
    row = backend.peers(requests.PeersQuery(state="waiting"))[0]
    assert (row.uri, row.direction, row.zone) == ("tcp://192.0.2.99:4444", "outbound", "static")
    assert (row.last_error, row.next_try_seconds, row.attempts) == ("connection refused", 12.5, 3)
    assert (row.port, row.public_key, row.uptime_seconds) == (None, None, None)


def test_a_dial_whose_link_the_node_has_already_dropped_is_down(world: World) -> None:
    world.dialer.rows = [FakeDial("tcp://192.0.2.7:1", "flag", "up", 77, 0, None, -0.5)]
    row = world.backend().peers(requests.PeersQuery(state="waiting"))[0]
    assert (row.port, row.state, row.next_try_seconds) == (None, "waiting", 0.0)


@pytest.mark.parametrize(
    ("query", "ports"),
    [
        (requests.PeersQuery(direction="inbound"), [2, 7, None]),
        (requests.PeersQuery(direction="inbound", state="up"), [2, 7]),
        (requests.PeersQuery(node=PARENT_KEY.hex()), [1, 7]),
        (requests.PeersQuery(node=address_text(CHILD_KEY)), [2]),
        (requests.PeersQuery(port=9), []),
        (requests.PeersQuery(limit=2), [1, 2]),
    ],
)
def test_filters(backend: AdminBackend, query: requests.PeersQuery, ports: list[int | None]) -> None:
    assert [row.port for row in backend.peers(query)] == ports


def test_rates_come_from_the_samples(world: World) -> None:
    backend = world.backend()
    assert backend.peers(requests.PeersQuery(port=2))[0].rx_bytes_per_second is None
    backend.sample_rates()
    world.seconds += 2
    world.node.links[1] = peering(2, 2, CHILD_KEY, rx_bytes=1_500_000 + 4000, tx_bytes=2_500 + 10)
    row = backend.peers(requests.PeersQuery(port=2))[0]
    assert (row.rx_bytes_per_second, row.tx_bytes_per_second) == (2000, 5)


# ---------------------------------------------------------------- adding and removing


def test_a_peer_is_added_for_the_dialer(world: World) -> None:
    added = asyncio.run(world.backend().add_peer(requests.AddPeer("tcp://192.0.2.50:1")))
    assert added == schema.AddedPeer("tcp://192.0.2.50:1", "api")
    assert world.dialer.rows[-1].source == "api"


def test_a_bad_uri_is_refused_in_the_dialers_words(backend: AdminBackend) -> None:
    with pytest.raises(AdminError) as refusal:
        asyncio.run(backend.add_peer(requests.AddPeer("gopher://x")))
    assert (refusal.value.code, refusal.value.remedy) == ("bad_request", "write tcp://host:port")
    assert refusal.value.message == "'gopher://x': unknown scheme"


def test_a_peer_that_is_there_already_is_a_conflict(backend: AdminBackend) -> None:
    with pytest.raises(AdminError, match="already") as refusal:
        asyncio.run(backend.add_peer(requests.AddPeer("tcp://192.0.2.99:4444")))
    assert (refusal.value.code, refusal.value.status) == ("conflict", 409)


def test_configured_peers_are_bounded(world: World) -> None:
    world.dialer.rows = [FakeDial(f"tcp://192.0.2.1:{n}", "api") for n in range(1, MAX_CONFIGURED_PEERS + 1)]
    with pytest.raises(AdminError, match="253") as refusal:
        asyncio.run(world.backend().add_peer(requests.AddPeer("tcp://192.0.2.50:1")))
    assert refusal.value.code == "limit"


def test_removing_by_uri_stops_dialling_and_closes_the_link(world: World) -> None:
    answer = asyncio.run(
        world.backend().remove_peer(requests.RemovePeerQuery(uri="tcp://gateway.example.org:4444"))
    )
    assert answer.removed == [
        schema.RemovedPeer(
            uri="tcp://gateway.example.org:4444", port=1, public_key=PARENT_KEY.hex(), source="file"
        )
    ]
    assert [link for link, _ in world.driver.detached] == [1]
    assert len(world.dialer.rows) == 2


def test_removing_a_peer_that_is_down(world: World) -> None:
    answer = asyncio.run(world.backend().remove_peer(requests.RemovePeerQuery(uri="tcp://192.0.2.99:4444")))
    assert [(row.port, row.source) for row in answer.removed] == [(None, "file")]
    assert world.driver.detached == []


def test_removing_by_port_also_stops_dialling(world: World) -> None:
    asyncio.run(world.backend().remove_peer(requests.RemovePeerQuery(port=1)))
    assert [link for link, _ in world.driver.detached] == [1]
    assert "tcp://gateway.example.org:4444" not in [row.uri for row in world.dialer.rows]


@pytest.mark.parametrize("name", [PARENT_KEY.hex(), address_text(PARENT_KEY)])
def test_removing_by_key_or_address_ends_all_peerings_to_the_node(world: World, name: str) -> None:
    answer = asyncio.run(world.backend().remove_peer(requests.RemovePeerQuery(key=name)))
    assert [(row.port, row.source) for row in answer.removed] == [(1, "file"), (7, "multicast")]
    assert [link for link, _ in world.driver.detached] == [1, 4]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (requests.RemovePeerQuery(), "bad_request"),
        (requests.RemovePeerQuery(port=1, uri="tcp://192.0.2.99:4444"), "bad_request"),
        (requests.RemovePeerQuery(key="fd"), "bad_request"),
        (requests.RemovePeerQuery(key=key(9).hex()), "not_found"),
        (requests.RemovePeerQuery(port=200), "not_found"),
        (requests.RemovePeerQuery(uri="tcp://192.0.2.1:1"), "not_found"),
    ],
)
def test_what_cannot_be_removed(world: World, query: requests.RemovePeerQuery, code: str) -> None:
    with pytest.raises(AdminError) as refusal:
        asyncio.run(world.backend().remove_peer(query))
    assert refusal.value.code == code
    assert world.driver.detached == []
    assert len(world.dialer.rows) == 3


# ---------------------------------------------------------------- tree, snake, routes, address


def test_tree(backend: AdminBackend) -> None:
    tree = backend.tree(NOTHING)
    assert [(step.address, step.port) for step in tree.path] == [
        (address_text(ROOT.public_key), 3),
        (address_text(PARENT_KEY), 1),
    ]
    assert [(peer.port, peer.coords, peer.is_parent) for peer in tree.peers] == [
        (1, [3], True),
        (2, [], False),
    ]
    assert (tree.parent, tree.parent_port, tree.parent_age_seconds) == (PARENT_KEY.hex(), 1, 2.5)


def test_snake_pages_meet_without_gap_or_overlap(backend: AdminBackend) -> None:
    seen: list[str] = []
    query = requests.SnakeQuery(limit=7)
    while True:
        page = backend.snake(query)
        assert len(page.entries) <= 7
        seen += [entry.public_key for entry in page.entries]
        if page.next_cursor is None:
            break
        query = requests.SnakeQuery(limit=7, cursor=page.next_cursor)
    assert seen == [key(number).hex() for number in range(1, 40)]
    assert (page.total, page.capacity) == (39, 10_000)


def test_route_to_an_address_asks_for_the_padded_key(world: World) -> None:
    route = world.backend().route(requests.RouteQuery(address_text(CHILD_KEY)))
    assert world.node.asked == [CHILD_KEY[:15] + bytes(17)]
    assert (route.method, route.next_port, route.next_key) == ("snake", 1, PARENT_KEY.hex())
    assert (route.exact, route.next_address) == (False, address_text(PARENT_KEY))


def test_route_to_ourselves_has_no_next_hop(backend: AdminBackend) -> None:
    route = backend.route(requests.RouteQuery(OWN_KEY.hex()))
    assert (route.method, route.next_port, route.next_key, route.exact) == ("local", None, None, True)


@pytest.mark.parametrize("known", [OWN_KEY, PARENT_KEY, CHILD_KEY, ROOT.public_key, key(5)])
def test_the_whole_key_of_an_address_that_the_node_has_heard_of(backend: AdminBackend, known: bytes) -> None:
    answer = backend.address(requests.AddressQuery(address_text(known)))
    assert answer.public_key == known.hex()


def test_the_whole_key_of_an_address_is_known_once_a_session_has_proved_it(world: World) -> None:
    proved, claimed = key(0xA1), key(0xA2)
    world.node.peers_in_sessions = [session(proved), session(claimed, "dialling")]
    answers = [
        world.backend().address(requests.AddressQuery(address_text(node))) for node in (proved, claimed)
    ]
    assert [answer.public_key for answer in answers] == [proved.hex(), None]


def test_the_key_of_an_unknown_address_is_known_in_part(backend: AdminBackend) -> None:
    answer = backend.address(requests.AddressQuery("fdab:cdef::1"))
    assert (answer.public_key, answer.key_prefix) == (None, "abcdef" + "0" * 22 + "01")


def test_discovery_tells_of_every_interface(backend: AdminBackend) -> None:
    discovery = backend.discovery(requests.NoParameters())
    assert [(row.name, row.used) for row in discovery.interfaces] == [
        ("lo", False),
        ("eth0", True),
        ("eth1", True),
    ]
    assert discovery.interfaces[1].addresses == ["fe80::1", "192.0.2.1"]
    assert discovery.counters == {"beacons_heard": 6000, "dials": 3, "floods": 0}


def test_bluetooth_tells_of_the_adapter_and_every_device(backend: AdminBackend) -> None:
    ble = backend.ble(requests.NoParameters())
    assert ble.adapter == BleAdapter(name="hci0", address="5C:F3:70:00:00:01", state="ready", reason=None)
    assert (ble.advertising, ble.scanning, ble.psm, ble.error) == (True, True, 0x83, None)
    assert [(row.device[-2:], row.fate, row.detail) for row in ble.sightings] == [
        ("01", "peered", None),
        ("02", "awaited", "its key is lower, so it has to dial"),
        ("03", "failed", "no answer within 10 s"),
        ("04", "new", None),
    ]
    assert ble.sightings[0].key_prefix == CHILD_KEY[:18].hex()
    assert ble.sightings[0].random
    assert ble.counters == {"dials": 1, "reads": 4, "reads_failed": 0}


def test_bluetooth_without_an_adapter(world: World) -> None:
    report = AdapterReport(AdapterState.BLOCKED, "hci0", None, "a radio switch keeps it off")
    world.ble.now = BleSnapshot(report, False, False, None, None, ())
    ble = world.backend().ble(requests.NoParameters())
    assert ble.adapter is not None
    assert (ble.adapter.state, ble.adapter.reason) == ("blocked", "a radio switch keeps it off")


def test_bluetooth_that_is_off(world: World) -> None:
    world.ble.enabled = False
    world.ble.now = BleSnapshot(None, False, False, None, None, ())
    ble = world.backend().ble(requests.NoParameters())
    assert (ble.enabled, ble.adapter, ble.sightings, ble.counters) == (False, None, [], {})


def test_a_bluetooth_peer_has_its_radio(world: World) -> None:
    link = world.node.links[0].link
    world.ble.radios[link] = RadioSnapshot(-48, 0x83, 2048, 512)
    row = world.backend().peers(requests.PeersQuery())[0]
    assert (row.rssi_dbm, row.psm, row.mtu_in, row.mtu_out) == (-48, 0x83, 2048, 512)


def test_discovery_that_is_off(world: World) -> None:
    world.lan.enabled = False
    discovery = world.backend().discovery(requests.NoParameters())
    assert (discovery.enabled, discovery.interfaces, discovery.counters) == (False, [], {})


def test_the_address_of_a_key(backend: AdminBackend) -> None:
    answer = backend.address(requests.AddressQuery(key(0x77).hex()))
    assert (answer.address, answer.public_key) == (address_text(key(0x77)), key(0x77).hex())


# ---------------------------------------------------------------- the rest


def test_log_level(world: World) -> None:
    backend = world.backend()
    assert backend.log_level(NOTHING).level == "info"
    assert backend.set_log_level(requests.SetLogLevel("debug")).level == "debug"
    assert world.log_levels.level == "debug"


def test_version(backend: AdminBackend) -> None:
    assert backend.version(NOTHING) == schema.Version("1.2.3", 1, 1)


def test_a_saved_peer(world: World) -> None:
    answer = asyncio.run(world.backend().add_peer(requests.AddPeer("tcp://192.0.2.7:4444", save=True)))
    assert answer == schema.AddedPeer("tcp://192.0.2.7:4444", "saved")
    assert world.dialer.rows[-1].source == "saved"


def test_a_peer_that_cannot_be_saved(world: World) -> None:
    world.dialer.full = True
    with pytest.raises(AdminError) as caught:
        asyncio.run(world.backend().add_peer(requests.AddPeer("tcp://192.0.2.7:4444", save=True)))
    assert (caught.value.code, caught.value.status) == ("not_saved", 500)
    assert "No space left" in caught.value.message
