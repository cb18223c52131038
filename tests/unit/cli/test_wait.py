# SPDX-License-Identifier: Apache-2.0
"""`wait`, and what a user gets who may not open the admin socket."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pineconed.admin.client import AdminClient, NotPermittedError
from pineconed.cli import settings, waiting
from pineconed.dataplane.forward import SendResult
from pineconed.wire.root import Root
from tests.unit.admin.fakes import CHILD_KEY, SILENT_KEY, World, peering, served
from tests.unit.admin.test_status_server import answering
from tests.unit.cli.conftest import Pineconectl


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(waiting, "PAUSE", 0.01)


@pytest.mark.parametrize("goal", ["up", "peer", "tree"])
def test_what_is_so_already_takes_no_time(pineconectl: Pineconectl, goal: str) -> None:
    result = pineconectl("wait", "--for", goal, "--timeout", "0")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith(" after 0.0 s\n")


def test_the_default_is_to_have_joined(pineconectl: Pineconectl) -> None:
    assert json.loads(pineconectl("wait", "--json").out)["for"] == "tree"


def test_a_node_without_peers_has_not_joined(pineconectl: Pineconectl, world: World) -> None:
    world.node.links.clear()
    result = pineconectl("wait", "--timeout", "0.05")
    assert (result.code, result.out) == (8, "")
    assert "this node has no peers" in result.err
    assert pineconectl("wait", "--for", "peer", "--timeout", "0").code == 8
    assert pineconectl("wait", "--for", "up", "--timeout", "0").code == 0


def test_a_peer_in_another_tree_is_a_peer_and_no_more(pineconectl: Pineconectl, world: World) -> None:
    world.node.links[:] = [peering(1, 1, CHILD_KEY, root=Root(SILENT_KEY, 9))]
    assert pineconectl("wait", "--for", "peer", "--timeout", "0").code == 0
    result = pineconectl("wait", "--timeout", "0")
    assert (result.code, "see 'pineconectl tree'" in result.err) == (8, True)


def test_a_node_that_answers_is_reached(pineconectl: Pineconectl) -> None:
    result = pineconectl("wait", "--for", CHILD_KEY.hex(), "--timeout", "1")
    assert (result.code, result.out.split()[:2]) == (0, [CHILD_KEY.hex(), "answers"])


def test_a_node_that_does_not_is_not(pineconectl: Pineconectl, world: World) -> None:
    world.driver.on_ping = lambda *_: SendResult.QUEUED
    result = pineconectl("wait", "--for", CHILD_KEY.hex(), "--timeout", "0.2")
    assert (result.code, result.out) == (8, "")
    assert f"; see 'pineconectl routes {CHILD_KEY.hex()}'" in result.err


def test_the_daemon_may_come_later(pineconectl: Pineconectl, world: World, tmp_path: Path) -> None:
    late = tmp_path / "late.sock"
    over = threading.Event()

    def serve() -> None:
        time.sleep(0.2)
        with served(world, late):
            over.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    result = pineconectl("wait", "--socket", str(late), "--timeout", "5")
    over.set()
    thread.join()
    assert result.code == 0


def test_no_daemon_until_the_end_is_told_as_by_other_commands(
    pineconectl: Pineconectl, tmp_path: Path
) -> None:
    began = time.monotonic()
    result = pineconectl("wait", "--socket", str(tmp_path / "none"), "--timeout", "0.3")
    assert (result.code, time.monotonic() - began >= 0.3) == (3, True)
    assert "no daemon answers" in result.err


@pytest.mark.parametrize("arguments", [["--for", "nobody"], ["--timeout", "-1"], ["--for"]])
def test_wrong_usage(pineconectl: Pineconectl, arguments: list[str]) -> None:
    assert pineconectl("wait", *arguments).code == 2


# ---------------------------------------------------------------- strangers


@pytest.fixture
def stranger(
    world: World, tmp_path: Path, pineconectl: Pineconectl, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pineconectl]:
    """Pineconectl of a user who may open only the status socket."""
    admin, for_all = str(tmp_path / "admin"), str(tmp_path / "status")
    connect = AdminClient.get

    def get(client: AdminClient, path: str, **query: object) -> bytes:
        if client.socket_path == admin:
            raise NotPermittedError("this user may not", "run as another")
        return connect(client, path, **query)

    monkeypatch.delenv("PINECONED_ADMIN_SOCKET")
    monkeypatch.setattr(settings, "DEFAULT_SOCKET", admin)
    monkeypatch.setattr(settings, "DEFAULT_STATUS_SOCKET", for_all)
    monkeypatch.setattr(settings.Settings, "__init__", _settings_of(admin))
    monkeypatch.setattr(AdminClient, "get", get)
    with answering(world, Path(for_all)):
        yield pineconectl


def _settings_of(admin: str) -> object:
    def __init__(own: settings.Settings) -> None:  # noqa: N807
        own.json, own.socket = False, admin

    return __init__


@pytest.mark.parametrize("command", ["status", "version", "address", "wait"])
def test_a_stranger_sees_what_everybody_may(stranger: Pineconectl, command: str) -> None:
    result = stranger(command)
    assert (result.code, result.err) == (0, "")


def test_a_stranger_sees_no_parent_and_no_listeners(stranger: Pineconectl) -> None:
    lines = stranger("status").out.splitlines()
    assert any(line.startswith("address ") for line in lines)
    assert not any(line.startswith(("parent", "listeners")) for line in lines)


@pytest.mark.parametrize("command", ["peers", "tree", "sessions", "snake", "log-level"])
def test_a_stranger_sees_nothing_else(stranger: Pineconectl, command: str) -> None:
    result = stranger(command)
    assert (result.code, result.err) == (4, "pineconectl: this user may not; run as another\n")


def test_without_a_status_socket_the_first_refusal_counts(
    stranger: Pineconectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEFAULT_STATUS_SOCKET", "/nonexistent/status.sock")
    assert stranger("status").code == 4


def test_the_status_socket_by_name_refuses_other_calls_as_not_permitted(
    world: World, tmp_path: Path, pineconectl: Pineconectl
) -> None:
    with answering(world, tmp_path / "status"):
        assert pineconectl("status", "--socket", str(tmp_path / "status")).code == 0
        result = pineconectl("peers", "--socket", str(tmp_path / "status"))
    assert result.code == 4
    assert "use the admin socket" in result.err


def test_what_is_not_to_be_waited_for_is_told_with_what_is(pineconectl: Pineconectl) -> None:
    result = pineconectl("wait", "--for", "tre")
    assert result.code == 2
    assert "'--for': 'tre' is none of up, peer and tree, and no node: " in result.err
