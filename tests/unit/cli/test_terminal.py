# SPDX-License-Identifier: Apache-2.0
"""Tables on terminals of several widths, and what makes room first."""

import asyncio
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pineconed.admin import requests, schema
from pineconed.admin.client import decode
from pineconed.admin.identifier import address_text
from pineconed.admin.schema_ble import Ble, BleAdapter, BleSighting
from pineconed.cli.blocks import Block, Column, Fact, Facts, Line, Note, Table, cell, short_address, short_key
from pineconed.cli.fitting import GAP, fit
from pineconed.cli.plain import plain_text
from pineconed.cli.terminal import terminal_text
from pineconed.cli.view_ble import ble_blocks
from pineconed.cli.view_discovery import discovery_blocks
from pineconed.cli.view_peers import peers_long, peers_terminal
from pineconed.cli.view_sessions import sessions_long, sessions_terminal
from pineconed.cli.view_status import added_blocks, removed_blocks, route_blocks, status_blocks
from pineconed.cli.view_tree import snake_terminal, tree_terminal
from pineconed.transport.ble.backend import AdapterState
from pineconed.transport.ble.sightings import Fate
from tests.unit.admin.fakes import CHILD_KEY, OWN_KEY, PARENT_KEY, FakeDial, World
from tests.unit.cli.process import on_terminal, without_codes

WIDE = 320
PICTURES = Path(__file__).parent / "pictures"


def lines_of(socket_path: Path, width: int, *arguments: str) -> list[str]:
    """What a person sees on a terminal of this width."""
    return without_codes(on_terminal(socket_path, width, *arguments)).splitlines()


# ---------------------------------------------------------------- whole commands on a terminal


@pytest.mark.parametrize("width", [40, 80, 132, WIDE])
@pytest.mark.parametrize(
    "command", [["peers"], ["sessions"], ["tree"], ["snake"], ["status"], ["routes", CHILD_KEY.hex()]]
)
def test_nothing_is_wider_than_the_terminal(socket_path: Path, width: int, command: list[str]) -> None:
    lines = lines_of(socket_path, width, *command)
    assert lines
    assert max(map(len, lines)) <= width


def test_a_wide_terminal_shows_all_columns_and_whole_keys(socket_path: Path) -> None:
    lines = lines_of(socket_path, WIDE, "peers")
    row = next(line for line in lines if "1*" in line)
    for text in (
        PARENT_KEY.hex(),
        address_text(PARENT_KEY),
        "outbound",
        "remote",
        "0.31 ms",
        "1.4 MiB",
        "12",
    ):
        assert text in row
    assert not any("left out" in line for line in lines)


def test_a_usual_terminal_keeps_one_line_for_each_peer(socket_path: Path) -> None:
    lines = lines_of(socket_path, 80, "peers")
    assert lines[0].split()[:3] == ["PORT", "ADDRESS", "URI"]
    assert [line.split()[0] for line in lines[1:5]] == ["1*", "2", "7", "-"]
    assert address_text(PARENT_KEY) in lines[1]
    assert "14 columns left out" in lines[5]
    down = lines[lines.index("Down") + 1 :]
    assert down[0].split() == ["URI", "STATE", "NEXT", "TRY", "TRIES", "LAST", "ERROR"]
    assert "in 12 s" in down[2]
    assert "connection refused" in down[2]


def test_a_narrow_terminal_shortens_addresses(socket_path: Path) -> None:
    lines = lines_of(socket_path, 40, "peers")
    assert short_address(address_text(PARENT_KEY)) in lines[1]


def test_status_speaks_to_people(socket_path: Path) -> None:
    text = "\n".join(lines_of(socket_path, 80, "status"))
    assert OWN_KEY.hex() in text
    assert "1 h 23 min" in text
    assert "3 up, 2 down" in text


def test_a_root_without_peers_is_told_what_to_do(socket_path: Path, world: World) -> None:
    world.node.links, world.node.parent, world.dialer.rows = [], None, []
    assert "add-peer" in lines_of(socket_path, 80, "peers")[0]
    assert any("this node is the root" in line for line in lines_of(socket_path, 80, "status"))


def test_without_a_peering_that_is_up_none_is_asked_for_that_is_configured(
    socket_path: Path, world: World
) -> None:
    world.node.links = []
    lines = lines_of(socket_path, 80, "peers")
    assert lines[:3] == ["No peering is up.", "", "Down"]


@pytest.mark.parametrize("which", [["250"], ["fd01::1"], ["--state", "handshake", "250"], ["--long", "250"]])
def test_who_asks_for_a_peer_that_is_not_there_is_not_told_that_there_are_none(
    socket_path: Path, which: list[str]
) -> None:
    assert lines_of(socket_path, 80, "peers", *which) == [
        "No peer fits. 'pineconectl peers' shows all there are."
    ]


def test_who_asks_for_those_that_are_down_sees_nothing_else(socket_path: Path) -> None:
    assert lines_of(socket_path, 80, "peers", "--state", "waiting")[0] == "Down"


@pytest.mark.parametrize("width", [80, 60])
def test_the_reason_why_a_peer_is_down_can_be_read_on_a_usual_terminal(
    socket_path: Path, world: World, width: int
) -> None:
    reason = "cannot find the address of 'nosuch.example.org': Temporary failure in name resolution"
    world.dialer.rows = [FakeDial("tcp://nosuch.example.org:4444", "file", last_error=reason)]
    lines = lines_of(socket_path, width, "peers")
    assert max(map(len, lines)) <= width
    start = lines.index("Down") + 1
    column = lines[start].index("LAST ERROR")
    told = " ".join(line[column:].strip() for line in lines[start + 1 :] if "left out" not in line)
    assert told.startswith(reason)
    edge = min(lines[start].index(title) for title in ("STATE", "LAST ERROR") if title in lines[start])
    uri = "".join(line[:edge].strip() for line in lines[start + 1 :])
    assert uri.startswith("tcp://nosuch.example.org:4444")


def test_words_in_the_place_of_a_key_are_not_cut_like_a_key() -> None:
    lowest = schema.Snake(descending=None, entries=[], total=0, capacity=9, next_cursor=None)
    text = terminal_text(snake_terminal(lowest), Console(width=40, color_system=None))
    assert " ".join(text.split()).startswith("next lower key none is known: this may be the lowest rows")


def test_a_long_form_of_one_peer(socket_path: Path) -> None:
    lines = lines_of(socket_path, 80, "peers", "--long", "1")
    assert lines[0] == f"port 1: {address_text(PARENT_KEY)}"
    assert any("12 queue full" in line for line in lines)
    assert any(PARENT_KEY.hex() in line for line in lines)


def test_changes_come_with_a_hint_on_a_terminal(socket_path: Path) -> None:
    assert "forgets it" in " ".join(lines_of(socket_path, 80, "add-peer", "tcp://192.0.2.50:1"))
    assert "configuration file" in " ".join(lines_of(socket_path, 80, "remove-peer", "tcp://192.0.2.99:4444"))


def test_colours_are_there_unless_nobody_wants_them(socket_path: Path) -> None:
    assert "\x1b[3" in on_terminal(socket_path, 80, "status")
    assert "\x1b[3" not in on_terminal(socket_path, 80, "status", NO_COLOR="1")


# ---------------------------------------------------------------- exact pictures


def drawn(blocks: list[Block], width: int) -> str:
    """Blocks as a person sees them, without trailing spaces."""
    text = terminal_text(blocks, Console(width=width, color_system=None))
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


BLE_OFF = Ble(
    enabled=False,
    adapter=None,
    advertising=False,
    scanning=False,
    psm=None,
    error=None,
    sightings=[],
    counters={},
)


def views() -> dict[str, list[Block]]:
    """What the commands draw of the fake world."""
    backend = World().backend()
    nothing = requests.NoParameters()
    peers = backend.peers(requests.PeersQuery())
    status = asyncio.run(backend.status(nothing))
    inbound = schema.Inbound("open", "anyone reaches this machine; to change that: systemctl enable --now it")
    return {
        "status": status_blocks(status),
        "status-open": status_blocks(msgspec.structs.replace(status, inbound=inbound)),
        "peers": peers_terminal(peers),
        "peers-long": peers_long([peers[0], peers[-1]]),
        "sessions": sessions_terminal(backend.sessions(requests.SessionsQuery())),
        "sessions-long": sessions_long(backend.sessions(requests.SessionsQuery(limit=3))),
        "discovery": discovery_blocks(backend.discovery(nothing)),
        "ble": ble_blocks(backend.ble(nothing)),
        "ble-off": ble_blocks(BLE_OFF),
        "discovery-off": discovery_blocks(schema.Discovery(enabled=False, interfaces=[], counters={})),
        "tree": tree_terminal(backend.tree(nothing)),
        "snake": snake_terminal(backend.snake(requests.SnakeQuery(limit=2))),
        "route": route_blocks(backend.route(requests.RouteQuery(CHILD_KEY.hex()))),
        "route-to-us": route_blocks(backend.route(requests.RouteQuery(OWN_KEY.hex()))),
    }


@pytest.mark.parametrize("name", views())
@pytest.mark.parametrize("width", [60, 80, 280])
def test_pictures(name: str, width: int) -> None:
    """The pictures lie beside this file, to be looked at when they change."""
    assert drawn(views()[name], width) == (PICTURES / f"{name}-{width}.txt").read_text()


@pytest.mark.parametrize(("name", "what"), [("ble-off", "Bluetooth"), ("discovery-off", "LAN discovery")])
def test_what_is_off_says_so_into_a_pipe_too(name: str, what: str) -> None:
    assert plain_text(views()[name]).startswith(f"{what} is off (")


def test_a_bluetooth_peer_is_shown_with_its_radio() -> None:
    first = World().backend().peers(requests.PeersQuery())[0]
    radio = {"type": "bluetooth", "uri": "ble://7A:00:00:00:00:01", "remote": "7A:00:00:00:00:01"}
    numbers = {"rssi_dbm": -48, "psm": 0x83, "mtu_in": 2048, "mtu_out": 512}
    peer = msgspec.structs.replace(first, **radio, **numbers)
    text = drawn(peers_long([peer]), 80)
    facts = dict(re.findall(r"^ +(\S.*?) {2,}(\S.*)$", text, re.MULTILINE))
    told = ("type", "URI", "signal", "PSM", "MTU in", "MTU out")
    assert [facts.get(name) for name in told] == [
        "bluetooth",
        "ble://7A:00:00:00:00:01",
        "-48 dBm",
        "0x83",
        "2048",
        "512",
    ]
    assert "bluetooth -48 dBm" in drawn(
        peers_terminal([msgspec.structs.replace(peer, **radio, **numbers)]), 200
    )


@pytest.mark.parametrize("fate", Fate)
def test_whatever_became_of_a_device_has_words(fate: Fate) -> None:
    ble = World().backend().ble(requests.NoParameters())
    sighting = msgspec.structs.replace(ble.sightings[0], fate=fate.value)
    assert decode(msgspec.json.encode(sighting), BleSighting) == sighting
    drawn(ble_blocks(msgspec.structs.replace(ble, sightings=[sighting])), 80)


@pytest.mark.parametrize("state", AdapterState)
def test_every_state_of_an_adapter_can_be_told(state: AdapterState) -> None:
    adapter = BleAdapter(name="hci0", address=None, state=state.value, reason="because")
    assert decode(msgspec.json.encode(adapter), BleAdapter) == adapter


# ---------------------------------------------------------------- fitting

KEY = "ab" * 32


def table(*columns: Column) -> Table:
    """Two rows of keys under these columns."""
    return Table(columns, [[cell(KEY) for _ in columns], [cell("x") for _ in columns]])


def test_room_enough_changes_nothing() -> None:
    fitted = fit(table(Column("a", "A", shorten=short_key), Column("b", "B")), 64 * 2 + GAP)
    assert (list(fitted.widths), fitted.left_out) == ([64, 64], [])
    assert fitted.texts[0] == [KEY, KEY]


def test_one_less_shortens_and_then_leaves_out_in_order() -> None:
    columns = (
        Column("a", "A", keep=90),
        Column("b", "B", keep=20, shorten=short_key),
        Column("c", "C", keep=10),
    )
    assert list(fit(table(*columns), 64 * 3 + 2 * GAP - 1).widths) == [64, 13, 64]
    assert list(fit(table(*columns), 64 * 2).left_out) == ["C"]
    assert list(fit(table(*columns), 64).left_out) == ["B", "C"]
    assert list(fit(table(*columns), 30).widths) == [30]


def test_columns_with_a_least_width_are_cut_before_others_go() -> None:
    fitted = fit(table(Column("a", "A"), Column("b", "B", least=20)), 64 + GAP + 21)
    assert (list(fitted.widths), fitted.left_out) == ([64, 21], [])


COLUMNS = st.builds(
    Column,
    name=st.just("n"),
    title=st.text("T", max_size=8),
    keep=st.integers(0, 100),
    shorten=st.sampled_from([None, short_key]),
    shorten_at=st.integers(0, 100),
    least=st.sampled_from([0, 5, 20]),
)


@given(st.lists(COLUMNS, min_size=1, max_size=6), st.integers(1, 200), st.data())
def test_whatever_the_table_and_the_width_it_fits(
    columns: list[Column], width: int, data: st.DataObject
) -> None:
    texts = st.text("x", min_size=0, max_size=70).map(cell)
    rows = data.draw(st.lists(st.tuples(*[texts for _ in columns]), max_size=3))
    drawn = terminal_text([Table(columns, rows, empty="-")], Console(width=width, color_system=None))
    assert all(len(line) <= width for line in drawn.splitlines()[: len(rows) + 1])
    fitted = fit(Table(columns, rows), width)
    assert sum(fitted.widths) + GAP * (len(fitted.widths) - 1) <= max(width, 1)
    assert len(fitted.columns) + len(fitted.left_out) == len(columns)


def test_facts_shorten_keys_and_break_words() -> None:
    facts = Facts(
        [
            Fact("k", "key", cell(KEY), short_key),
            Fact("w", "why", cell("one two three four five")),
            Fact("hidden", "", cell("not for people")),
        ],
        heading="Head",
    )
    text = terminal_text([facts, Note("a note"), Line("a line")], Console(width=23, color_system=None))
    assert text.splitlines() == [
        "Head",
        "  key  " + short_key(KEY),
        "  why  one two three",
        "       four five",
        "a note",
        "a line",
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file", ["It is in the configuration file and so is back when the daemon starts again."]),
        ("flag", ["It stands behind --connect and so is back when the daemon starts again."]),
        ("saved", []),
        ("api", []),
    ],
)
def test_a_removal_says_what_will_undo_it(source: schema.PeerSource | None, words: list[str]) -> None:
    removed = schema.RemovedPeer(uri="tcp://x:1", port=None, public_key=None, source=source)
    _, *further = removed_blocks(schema.RemovedPeers([removed]))
    assert further == [Line(word) for word in words]


@pytest.mark.parametrize(("source", "words"), [("saved", "It is kept"), ("api", "forgets it when it stops")])
def test_an_added_peer_says_how_long_it_stays(source: schema.PeerSource, words: str) -> None:
    _, note = added_blocks(schema.AddedPeer(uri="tcp://x:1", source=source))
    assert isinstance(note, Note)
    assert words in note.text


@pytest.mark.parametrize("source", [None, "multicast", "bluetooth"])
def test_the_removal_of_a_peer_that_was_not_configured(source: schema.PeerSource | None) -> None:
    removed = schema.RemovedPeer(uri="ble://7A:00:00:00:00:01", port=3, public_key="ab" * 32, source=source)
    assert removed_blocks(schema.RemovedPeers([removed])) == [
        Line(f"closed port 3 to {'ab' * 32}"),
        Note("A peer that dials this node, or was found by it, may come back."),
    ]
