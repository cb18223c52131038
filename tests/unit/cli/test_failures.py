# SPDX-License-Identifier: Apache-2.0
"""Each failure: its exit code, and one line that names the remedy."""

import grp
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.admin.answering import answering
from tests.unit.admin.fakes import OWN_KEY, World
from tests.unit.cli.conftest import Pineconectl, Result
from tests.unit.cli.process import COMMAND, environment, piped


def check(result: Result, code: int, says: str) -> None:
    """One line on standard error, nothing on standard output."""
    assert (result.code, result.out) == (code, "")
    line = result.err.removesuffix("\n")
    assert line.startswith("pineconectl: ")
    assert "\n" not in line
    assert says in line
    assert "; " in line or "? (" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add-peer", "gopher://x"], "unknown scheme; write tcp://host:port"),
        (["add-peer", "tcp://192.0.2.99:4444"], "already configured; "),
        (["remove-peer", "250"], "there is no peering on port 250; see 'pineconectl peers'"),
        (["remove-peer", "fd01::1"], "there is no peering to fd01::1; see 'pineconectl peers'"),
        (["remove-peer", "tcp://nobody:1"], "not a configured peer; "),
        (["ping", OWN_KEY.hex()], "is this node itself; name another node"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_refused(pineconectl: Pineconectl, arguments: list[str], says: str, more: list[str]) -> None:
    check(pineconectl(*arguments, *more), 1, says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "see 'pineconectl --help'"),
        (["peers", "--bogus"], "see 'pineconectl peers --help'"),
        (["peers", "abcd"], "has 4; see 'pineconectl peers --help'"),
        (["peers", "0"], "ports are 1 to 253"),
        (["remove-peer", "254"], "ports are 1 to 253"),
        (["remove-peer"], "see 'pineconectl remove-peer --help'"),
        (["routes", "2001:db8::1"], "begin with fd"),
        (["address", "xyz"], "neither hexadecimal"),
        (["log-level", "loud"], "Invalid value for '[LEVEL]': 'loud' is not one of 'debug', 'info'"),
        (["log-level", "loud"], "see 'pineconectl log-level --help'"),
        (["snake", "--limit", "0"], "see 'pineconectl snake --help'"),
        (["ping"], "see 'pineconectl ping --help'"),
        (["ping", "nobody"], "neither hexadecimal"),
        (["ping", "fd01::1", "-c", "101"], "see 'pineconectl ping --help'"),
        (["sessions", "2001:db8::1"], "begin with fd"),
        (["status", "extra"], "see 'pineconectl status --help'"),
        (["--socket"], "requires an argument"),
    ],
)
def test_usage(pineconectl: Pineconectl, arguments: list[str], says: str) -> None:
    check(pineconectl(*arguments), 2, says)


@pytest.mark.parametrize(("typo", "meant"), [("stauts", "status"), ("--sokcet", "--socket")])
def test_a_question_has_one_mark_at_its_end(pineconectl: Pineconectl, typo: str, meant: str) -> None:
    result = pineconectl(typo)
    assert result.code == 2
    assert result.err.count("\n") == 1
    if "Did you mean" in result.err:  # older releases of click do not ask
        assert f"Did you mean '{meant}'? (see 'pineconectl --help')\n" in result.err


def test_no_command_shows_the_help_as_an_error(pineconectl: Pineconectl) -> None:
    result = pineconectl()
    assert (result.code, result.out) == (2, "")
    assert "add-peer" in result.err


def test_no_daemon(pineconectl: Pineconectl, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    check(pineconectl("status", "--socket", str(missing)), 3, "systemctl start pineconed")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(missing))
    check(pineconectl("peers", "--socket", str(missing)), 3, f"no daemon answers at {missing}")


def refused_to_a_stranger(pineconectl: Pineconectl, path: Path) -> Result:
    """As another user, who may not open the socket; all that is to be imported has been before."""
    assert pineconectl("status").code == 0
    os.seteuid(65534)
    try:
        return pineconectl("peers", "--socket", str(path))
    finally:
        os.seteuid(0)


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        (0o660, "or as a member of the group man: 'sudo adduser $USER man', then log in anew"),
        (0o600, "; run as root"),
    ],
)
def test_not_permitted(pineconectl: Pineconectl, mode: int, remedy: str) -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listener:
        Path(name).chmod(0o755)
        path = Path(name, "admin.sock")
        listener.bind(str(path))
        listener.listen()
        os.chown(path, 0, grp.getgrnam("man").gr_gid)
        path.chmod(mode)
        check(refused_to_a_stranger(pineconectl, path), 4, remedy)


@pytest.mark.root
def test_not_permitted_to_look_into_the_directory(pineconectl: Pineconectl, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    check(refused_to_a_stranger(pineconectl, tmp_path / "admin.sock"), 4, "; run as root")


def test_an_answer_that_is_not_understood(pineconectl: Pineconectl, tmp_path: Path) -> None:
    path = tmp_path / "other"
    with answering(path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"):
        check(pineconectl("status", "--socket", str(path)), 1, "same version")


def test_a_mistake_in_the_daemon(socket_path: Path, world: World) -> None:
    world.node.broken = True
    run = piped(socket_path, "status")
    check(Result(run.returncode, run.stdout, run.stderr), 1, "look in its log")


# ---------------------------------------------------------------- standard output


@pytest.mark.parametrize("arguments", [["peers"], ["peers", "--json"], ["snake", "--limit", "9999"]])
def test_a_reader_that_has_gone_away_is_no_error(socket_path: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(socket_path),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, b"")


def test_help_into_a_closed_pipe_is_quiet(socket_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [*COMMAND, "--help"], env=environment(socket_path), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert run.stderr == b""


def test_a_full_disk_is_told(socket_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [*COMMAND, "status"],
            env=environment(socket_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    check(Result(run.returncode, "", run.stderr), 1, "No space left on device")


def test_errors_are_lines_even_when_their_cause_is_not(socket_path: Path) -> None:
    run = piped(socket_path, "remove-peer", "tcp://a\x1b[31m\nb:1")
    assert run.returncode == 1
    assert "\x1b" not in run.stderr
    assert run.stderr.count("\n") == 1


def test_each_mistake_of_a_configuration_has_its_line(pineconectl: Pineconectl, world: World) -> None:
    world.outcome = "c.toml:3: tun.mtu: wrong\nc.toml:9: listen: wrong"
    result = pineconectl("reload")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        "pineconectl: c.toml:3: tun.mtu: wrong",
        "pineconectl: c.toml:9: listen: wrong",
        "pineconectl: nothing is changed; mend the file first",
    ]
