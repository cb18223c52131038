# SPDX-License-Identifier: Apache-2.0
"""The client: its errors tell apart a refusal, no daemon, no permission, and something that is no daemon."""

import errno
import socket
from pathlib import Path

import pytest

from pineconed.admin import requests, schema
from pineconed.admin.client import (
    AdminClient,
    BadAnswerError,
    ClientError,
    NoDaemonError,
    NotPermittedError,
    RefusedError,
    decode,
)
from tests.unit.admin.answering import answering
from tests.unit.admin.fakes import World


def test_a_whole_conversation(socket_path: Path, world: World) -> None:
    client = AdminClient(str(socket_path))
    status = decode(client.get("/v1/status"), schema.Status)
    assert status.version == "1.2.3"
    assert len(decode(client.get("/v1/peers", state=None, limit=2), list[schema.Peer])) == 2
    client.post("/v1/peers", requests.AddPeer("tcp://192.0.2.50:1"))
    client.delete("/v1/peers", uri="tcp://192.0.2.50:1")
    client.put("/v1/log-level", requests.SetLogLevel("warning"))
    assert world.log_levels.level == "warning"


def test_a_refusal_keeps_code_message_and_remedy(socket_path: Path) -> None:
    with pytest.raises(RefusedError, match="no peering on port 200") as refusal:
        AdminClient(str(socket_path)).delete("/v1/peers", port=200)
    assert (refusal.value.code, refusal.value.remedy != "") == ("not_found", True)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="no daemon answers"):
        AdminClient(str(tmp_path / "s")).get("/v1/status")
    (tmp_path / "file").write_text("")
    with pytest.raises(NoDaemonError):
        AdminClient(str(tmp_path / "file")).get("/v1/status")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    with pytest.raises(NoDaemonError):
        AdminClient(str(tmp_path / "stale")).get("/v1/status")


def test_a_path_that_no_socket_can_have() -> None:
    with pytest.raises(NoDaemonError, match="too long"):
        AdminClient("/" + "s" * 200).get("/v1/status")


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotPermittedError, match="may not open") as refusal:
        AdminClient(str(tmp_path / "s")).get("/v1/status")
    assert "root" in refusal.value.remedy


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(NoDaemonError, match=r"within 0.05 s"):
            AdminClient(str(tmp_path / "s"), timeout=0.05).get("/v1/status")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops", "none of this API: Oops"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n\xff\xfe", "none of this API"),
    ],
)
def test_something_else_answers(tmp_path: Path, answer: bytes, says: str) -> None:
    with answering(tmp_path / "s", answer), pytest.raises(BadAnswerError, match=says):
        AdminClient(str(tmp_path / "s")).get("/v1/status")


def test_a_daemon_that_ends_in_the_middle(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b""), pytest.raises(ClientError):
        AdminClient(str(tmp_path / "s")).get("/v1/status")


def test_fields_of_a_newer_daemon_are_ignored_and_missing_ones_told() -> None:
    assert decode(b'{"level": "info", "since": 3}', schema.LogLevel).level == "info"
    with pytest.raises(BadAnswerError, match="missing required field"):
        decode(b"{}", schema.LogLevel)
