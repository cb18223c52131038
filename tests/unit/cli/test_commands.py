# SPDX-License-Identifier: Apache-2.0
"""Every command into a pipe and with --json."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pineconed
from pineconed.admin import requests
from pineconed.admin.client import NoDaemonError
from pineconed.admin.identifier import address_text
from pineconed.cli.terminal import terminal_text
from pineconed.cli.view_sessions import sessions_long, sessions_terminal
from pineconed.dataplane.forward import SendResult
from tests.unit.admin.fakes import (
    BARE_KEY,
    CHILD_KEY,
    OWN_KEY,
    PARENT_KEY,
    ROOT,
    FakeDial,
    FakeDriver,
    World,
    key,
    session,
)
from tests.unit.cli.conftest import Pineconectl

COMMANDS = {
    "status": [],
    "peers": [],
    "tree": [],
    "sessions": [],
    "ping": [CHILD_KEY.hex(), "-c", "1"],
    "snake": [],
    "wait": ["--timeout", "0"],
    "routes": [CHILD_KEY.hex()],
    "address": [CHILD_KEY.hex()],
    "version": [],
    "add-peer": ["tcp://192.0.2.50:1"],
    "remove-peer": ["1"],
    "log-level": [],
}


def rows_of(text: str) -> list[dict[str, str]]:
    """A plain table, its last column free to hold spaces."""
    head, *lines = text.splitlines()
    names = head.split()
    return [dict(zip(names, line.split(maxsplit=len(names) - 1), strict=True)) for line in lines]


def facts_of(text: str) -> dict[str, str]:
    """Plain facts."""
    return dict(line.split(maxsplit=1) for line in text.splitlines() if line)


@pytest.mark.parametrize(("name", "arguments"), COMMANDS.items())
def test_each_command_is_plain_in_a_pipe(pineconectl: Pineconectl, name: str, arguments: list[str]) -> None:
    result = pineconectl(name, *arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("\n")
    assert not set("\t\x1b…─│┃━") & set(result.out)
    assert all(line == line.rstrip() for line in result.out.splitlines())


@pytest.mark.parametrize(("name", "arguments"), COMMANDS.items())
def test_each_command_gives_json(pineconectl: Pineconectl, name: str, arguments: list[str]) -> None:
    result = pineconectl(name, *arguments, "--json")
    assert (result.code, result.err) == (0, "")
    assert isinstance(json.loads(result.out), list if name == "peers" else dict)


def test_json_and_socket_stand_before_or_after_the_command(
    pineconectl: Pineconectl, socket_path: Path
) -> None:
    expected = pineconectl("--json", "log-level").out
    assert json.loads(expected) == {"level": "info"}
    assert pineconectl("log-level", "--json").out == expected
    assert (
        pineconectl("--socket", "/nowhere", "log-level", "--socket", str(socket_path), "--json").out
        == expected
    )
    assert pineconectl("--socket", "/nowhere", "log-level").code == 3
    assert pineconectl("log-level", "--socket", "/nowhere").code == 3


# ---------------------------------------------------------------- looking


def test_status(pineconectl: Pineconectl) -> None:
    facts = facts_of(pineconectl("status").out)
    assert facts["address"] == address_text(OWN_KEY)
    assert facts["public_key"] == OWN_KEY.hex()
    assert (facts["peers"], facts["peers_down"], facts["coords"]) == ("3", "2", "[3,1]")
    assert facts["root.public_key"] == ROOT.public_key.hex()
    assert facts["drops.no_route"] == "5"
    assert "drops.too_big" not in facts


def test_peers_is_one_row_each_with_the_names_of_the_json(pineconectl: Pineconectl) -> None:
    rows = rows_of(pineconectl("peers").out)
    names = set(json.loads(pineconectl("peers", "--json").out)[0])
    assert [row["port"] for row in rows] == ["1", "2", "7", "-", "-", "-"]
    assert all(set(row) == names for row in rows)
    assert rows[0]["public_key"] == PARENT_KEY.hex()
    assert (rows[0]["rx_bytes"], rows[0]["rtt_seconds"], rows[0]["drops"]) == ("1500000", "0.00031", "12")
    assert (rows[5]["state"], rows[5]["last_error"]) == ("waiting", "connection refused")


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        (["2"], ["2"]),
        ([PARENT_KEY.hex()], ["1", "7"]),
        ([address_text(PARENT_KEY)], ["1", "7"]),
        (["--state", "waiting"], ["-"]),
        (["200"], []),
    ],
)
def test_peers_can_be_picked(pineconectl: Pineconectl, arguments: list[str], ports: list[str]) -> None:
    assert [row["port"] for row in rows_of(pineconectl("peers", *arguments).out)] == ports


def test_peers_in_full(pineconectl: Pineconectl) -> None:
    facts = facts_of(pineconectl("peers", "--long", "1").out)
    assert set(json.loads(pineconectl("peers", "1", "--json").out)[0]) == set(facts)
    assert (facts["uri"], facts["is_parent"]) == ("tcp://gateway.example.org:4444", "yes")


def test_tree(pineconectl: Pineconectl) -> None:
    facts, path, peers = pineconectl("tree").out.split("\n\n")
    assert facts_of(facts)["parent_port"] == "1"
    assert [row["port"] for row in rows_of(path)] == ["3", "1"]
    assert [(row["port"], row["is_parent"], row["coords"]) for row in rows_of(peers)] == [
        ("1", "yes", "[3]"),
        ("2", "no", "[]"),
    ]


def test_snake_shows_at_most_the_limit(pineconectl: Pineconectl) -> None:
    facts, table = pineconectl("snake", "--limit", "4").out.split("\n\n")
    assert (facts_of(facts)["total"], len(rows_of(table))) == ("39", 4)
    assert facts_of(facts)["next_cursor"] == key(4).hex()


def test_snake_fetches_as_many_pages_as_it_takes(pineconectl: Pineconectl, world: World) -> None:
    world.node.entries = [
        row.__class__(bytes([n >> 8, n & 255]) + bytes(30), n, 1, 0, 0.5, ROOT)
        for row in world.node.entries[:1]
        for n in range(2500)
    ]
    page = json.loads(pineconectl("snake", "--limit", "2400", "--json").out)
    assert [entry["sequence"] for entry in page["entries"]] == list(range(2400))
    assert page["next_cursor"] is not None
    everything = json.loads(pineconectl("snake", "--limit", "9999", "--json").out)
    assert (len(everything["entries"]), everything["next_cursor"]) == (2500, None)


def test_routes_takes_keys_and_addresses(pineconectl: Pineconectl) -> None:
    by_key = facts_of(pineconectl("routes", CHILD_KEY.hex()).out)
    by_address = facts_of(pineconectl("routes", address_text(CHILD_KEY)).out)
    assert by_key["destination_key"] == CHILD_KEY.hex()
    assert by_address["destination_key"] == CHILD_KEY[:15].hex() + "0" * 34
    for facts in (by_key, by_address):
        assert (facts["method"], facts["next_port"], facts["next_key"]) == ("snake", "1", PARENT_KEY.hex())
        assert facts["explanation"] == "The parent is the closest that is known."


def test_routes_to_this_node(pineconectl: Pineconectl) -> None:
    facts = facts_of(pineconectl("routes", OWN_KEY.hex()).out)
    assert (facts["method"], facts["next_port"], facts["next_key"]) == ("local", "-", "-")


# ---------------------------------------------------------------- address and version


def test_address_of_a_key_needs_no_daemon(pineconectl: Pineconectl) -> None:
    result = pineconectl("address", CHILD_KEY.hex(), "--socket", "/nowhere")
    assert result == (0, address_text(CHILD_KEY) + "\n", "")


def test_address_of_this_node(pineconectl: Pineconectl) -> None:
    assert pineconectl("address").out == address_text(OWN_KEY) + "\n"
    assert json.loads(pineconectl("address", "--json").out)["public_key"] == OWN_KEY.hex()
    assert pineconectl("address", "--socket", "/nowhere").code == 3


def test_key_of_an_address_is_whole_if_the_daemon_knows_it(pineconectl: Pineconectl) -> None:
    assert pineconectl("address", address_text(CHILD_KEY)) == (0, CHILD_KEY.hex() + "\n", "")


@pytest.mark.parametrize("more", [[], ["--socket", "/nowhere"]])
def test_key_of_an_address_is_a_part_if_nobody_knows_it(pineconectl: Pineconectl, more: list[str]) -> None:
    result = pineconectl("address", "fdab:cdef::1", *more)
    assert (result.code, result.out) == (0, "abcdef" + "0" * 22 + "01\n")
    assert "first 30 of 64 digits" in result.err
    as_json = json.loads(pineconectl("address", "fdab:cdef::1", "--json", *more).out)
    assert (as_json["public_key"], as_json["address"]) == (None, "fdab:cdef::1")


def test_version_with_and_without_a_daemon(pineconectl: Pineconectl) -> None:
    assert facts_of(pineconectl("version").out) == {
        "pineconectl": pineconed.__version__,
        "pineconed": "1.2.3",
    }
    without = pineconectl("version", "--socket", "/nowhere")
    assert without.code == 0
    assert "no daemon answers at /nowhere" in facts_of(without.out)["pineconed"]
    as_json = json.loads(pineconectl("version", "--socket", "/nowhere", "--json").out)
    assert as_json == {"pineconectl": pineconed.__version__, "daemon": None}
    assert pineconectl("--version").out == f"pineconectl {pineconed.__version__}\n"


# ---------------------------------------------------------------- sessions


def test_sessions_is_one_row_each_with_the_names_of_the_json(pineconectl: Pineconectl) -> None:
    rows = rows_of(pineconectl("sessions").out)
    page = json.loads(pineconectl("sessions", "--json").out)
    assert all(set(row) == set(page["sessions"][0]) for row in rows)
    assert [(row["state"], row["in_clear"], row["path"]) for row in rows] == [
        ("up", "no", "tree"),
        ("dialling", "no", "snake"),
        ("bare", "yes", "snake"),
        ("up", "no", "snake"),
    ]
    assert (rows[0]["cipher"], rows[3]["cipher"]) == ("AES-256-GCM", "CHACHA20-POLY1305")
    assert (rows[0]["rtt_seconds"], rows[0]["drops"], rows[0]["hybrid"]) == ("0.0123", "4", "yes")
    assert (rows[1]["public_key"], rows[1]["waiting_packets"]) == ("-", "3")


@pytest.mark.parametrize("node", [PARENT_KEY.hex(), address_text(PARENT_KEY)])
def test_one_session_can_be_picked(pineconectl: Pineconectl, node: str) -> None:
    facts = facts_of(pineconectl("sessions", "--long", node).out)
    assert (facts["public_key"], facts["initiator"]) == (PARENT_KEY.hex(), "no")
    assert set(json.loads(pineconectl("sessions", node, "--json").out)["sessions"][0]) == set(facts)
    assert json.loads(pineconectl("sessions", key(9).hex(), "--json").out)["sessions"] == []


@pytest.mark.parametrize("view", [sessions_terminal, sessions_long])
def test_a_listed_node_with_a_session_is_to_be_taken_off_the_list(world: World, view: Any) -> None:
    page = world.backend().sessions(requests.SessionsQuery())
    assert "is listed in overlay.bare_ipv6, too" not in terminal_text(view(page))
    world.node.peers_in_sessions = [session(BARE_KEY, in_clear=True)]
    page = world.backend().sessions(requests.SessionsQuery())
    assert "is listed in overlay.bare_ipv6, too" in terminal_text(view(page))


def test_sessions_come_in_as_many_pages_as_it_takes(pineconectl: Pineconectl, world: World) -> None:
    world.node.peers_in_sessions = [session(number.to_bytes(2) + bytes(30)) for number in range(2500)]
    page = json.loads(pineconectl("sessions", "--limit", "2400", "--json").out)
    assert [row["public_key"][:4] for row in page["sessions"]] == [f"{n:04x}" for n in range(2400)]
    assert (page["total"], page["next_cursor"] is None) == (2500, False)
    everything = json.loads(pineconectl("sessions", "--limit", "9999", "--json").out)
    assert (len(everything["sessions"]), everything["next_cursor"]) == (2500, None)


ECHO = ("ping", "-i", "0", "-W", "0.1", CHILD_KEY.hex())


def test_ping_tells_each_echo_and_sums_up(pineconectl: Pineconectl, world: World) -> None:
    def lose_the_second(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult:
        return SendResult.QUEUED if len(driver.echoes) == 2 else driver.answer(prefix, data)

    world.driver.on_ping = lose_the_second
    result = pineconectl(*ECHO, "-c", "3")
    assert (result.code, result.err) == (0, "")
    head, first, second, third, empty, tail, times = result.out.splitlines()
    assert head == f"PING {address_text(CHILD_KEY)}: 3 echoes inside the session"
    assert first == f"echo 1 from {address_text(CHILD_KEY)}: time=12.3 ms"
    assert second.startswith("echo 2: no answer: the peer fails. There is a session")
    assert third.startswith("echo 3 from")
    assert (empty, times) == ("", "round trip min/avg/max = 12.3 ms / 12.3 ms / 12.3 ms")
    assert tail.startswith("3 sent, 2 answered, 33% lost, in ")


def test_ping_in_json(pineconectl: Pineconectl) -> None:
    summary = json.loads(pineconectl(*ECHO, "-c", "2", "--json").out)
    assert (summary["sent"], summary["answered"], summary["loss"]) == (2, 2, 0.0)
    assert summary["rtt_avg_seconds"] == pytest.approx(0.0123)
    assert [echo["public_key"] for echo in summary["echoes"]] == [CHILD_KEY.hex()] * 2


def test_ping_waits_between_echoes_and_not_after_the_last(pineconectl: Pineconectl) -> None:
    began = time.monotonic()
    pineconectl("ping", "-i", "0.2", "-c", "3", CHILD_KEY.hex())
    assert 0.4 <= time.monotonic() - began < 1.0


def test_ping_that_is_interrupted_sums_up(pineconectl: Pineconectl, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pineconed.cli.echoing.time.sleep", interrupt)
    result = pineconectl("ping", CHILD_KEY.hex())
    assert result.code == 0
    assert "\n1 sent, 1 answered, 0% lost, " in result.out


def test_ping_that_is_interrupted_before_the_first_echo_tells_nothing(
    pineconectl: Pineconectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pineconed.cli.echoing.AdminClient.post", interrupt)
    result = pineconectl("ping", CHILD_KEY.hex())
    assert (result.code, result.out, result.err.strip()) == (130, "", "")


def test_ping_sums_up_when_the_daemon_ends(pineconectl: Pineconectl, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: float) -> None:
        monkeypatch.setattr("pineconed.cli.echoing.AdminClient.post", gone)

    def gone(*_: object) -> None:
        raise NoDaemonError("no daemon answers", "start it")

    monkeypatch.setattr("pineconed.cli.echoing.time.sleep", end)
    result = pineconectl("ping", CHILD_KEY.hex())
    assert (result.code, result.err) == (3, "pineconectl: no daemon answers; start it\n")
    assert "\n1 sent, 1 answered, 0% lost, " in result.out


@pytest.mark.parametrize(
    ("result", "way", "fails", "code", "remedy"),
    [
        (SendResult.QUEUED, True, "peer", 7, "pineconectl sessions"),
        (SendResult.NO_ROUTE, True, "route", 5, "pineconectl peers"),
        (SendResult.NO_ROUTE, False, "route", 5, "pineconectl routes"),
        (None, True, "session", 6, "see that the node runs"),
    ],
)
def test_ping_without_any_answer_says_what_fails(
    pineconectl: Pineconectl,
    world: World,
    result: SendResult | None,
    way: bool,
    fails: str,
    code: int,
    remedy: str,
) -> None:
    world.driver.on_ping, world.node.way = lambda *_: result, way
    run = pineconectl(*ECHO, "-c", "2")
    assert run.code == code
    assert re.findall("echo ([12]): no answer: (the [a-z]+ fails|as before)", run.out) == [
        ("1", f"the {fails} fails"),
        ("2", "as before"),
    ]
    assert "\n2 sent, 0 answered, 100% lost, in " in run.out
    assert run.err.startswith("pineconectl: ")
    assert remedy in run.err
    assert json.loads(pineconectl(*ECHO, "-c", "1", "--json").out)["failed"] == fails


# ---------------------------------------------------------------- changing


def test_a_peer_is_added_and_removed(pineconectl: Pineconectl, world: World) -> None:
    assert pineconectl("add-peer", "tcp://192.0.2.50:1").out == "dialling tcp://192.0.2.50:1\n"
    assert world.dialer.rows[-1].uri == "tcp://192.0.2.50:1"
    removed = pineconectl("remove-peer", "tcp://192.0.2.50:1")
    assert removed.out == "no longer dialling tcp://192.0.2.50:1\n"
    assert "tcp://192.0.2.50:1" not in [row.uri for row in world.dialer.rows]


@pytest.mark.parametrize(
    ("which", "links"), [("1", [1]), (PARENT_KEY.hex(), [1, 4]), (address_text(CHILD_KEY), [2])]
)
def test_removing_by_port_key_and_address(
    pineconectl: Pineconectl, world: World, which: str, links: list[int]
) -> None:
    result = pineconectl("remove-peer", which)
    assert [link for link, _ in world.driver.detached] == links
    assert len([line for line in result.out.splitlines() if line.startswith("closed")]) == len(links)
    assert result.out.startswith(f"closed port {links[0]} to ")


def test_log_level(pineconectl: Pineconectl, world: World) -> None:
    assert pineconectl("log-level").out == "info\n"
    assert pineconectl("log-level", "debug").out == "debug\n"
    assert world.log_levels.level == "debug"


def test_names_that_would_upset_a_terminal_are_escaped(pineconectl: Pineconectl, world: World) -> None:
    world.dialer.rows = [FakeDial("tcp://x:1", "file", last_error="\x1b]0;owned\x07\nnext\u202eline")]
    out = pineconectl("peers", "--state", "waiting").out
    assert "\\x1b]0;owned\\x07\\nnext\\u202eline" in out
    assert len(out.splitlines()) == 2


def test_genpassword_makes_another_one_each_time_and_asks_nobody(pineconectl: Pineconectl) -> None:
    first, second = (pineconectl("genpassword") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}\n", first.out)
    assert first.out != second.out
    assert len(json.loads(pineconectl("genpassword", "--json").out)["password"]) == 22


def test_peers_tells_whose_keys_are_proven(pineconectl: Pineconectl, world: World) -> None:
    world.node.links = [
        replace(link, proven=link.link == 1, uri=f"tls://192.0.2.{link.link}:1") for link in world.node.links
    ]
    rows = rows_of(pineconectl("peers").out)
    assert [row["proven"] for row in rows if row["state"] == "up"] == ["yes", "no", "no"]
    assert {row["scheme"] for row in rows} == {"tls", "tcp"}
