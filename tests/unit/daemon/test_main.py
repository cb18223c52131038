# SPDX-License-Identifier: Apache-2.0
"""The command `pineconed`: what it prints, what it refuses, with which exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pineconed
from pineconed.daemon import config_load, run
from pineconed.daemon.config_load import Loaded
from pineconed.daemon.errors import StartError
from pineconed.daemon.main import command


@pytest.fixture(autouse=True)
def no_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has in /etc does not matter here."""
    monkeypatch.setattr(config_load, "DEFAULT_CONFIG_PATH", tmp_path / "absent.toml")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    """Configurations with which a daemon would have been started."""
    started: list[Loaded] = []
    monkeypatch.setattr(run, "run_until_stopped", lambda loaded, _: started.append(loaded))
    return started


def pineconed_says(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, prog_name="pineconed")


# ---------------------------------------------------------------- running


def test_without_anything_it_runs_with_defaults(runs: list[Loaded]) -> None:
    assert pineconed_says().exit_code == 0
    [loaded] = runs
    assert loaded.source is None
    assert loaded.config.connect == ()


def test_every_flag_arrives(runs: list[Loaded], tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[tun]\nmtu = 1400")
    result = pineconed_says(
        *("--config", str(tmp_path / "c"), "--listen", "a:1", "--listen", "b:2", "--connect", "c:3"),
        *("--key-file", "/k", "--admin-socket", "/s", "--tun", "none", "--log-level", "debug"),
    )
    assert result.exit_code == 0
    [loaded] = runs
    config = loaded.config
    assert (loaded.source, loaded.connect_source) == (tmp_path / "c", "flag")
    assert (config.listen, config.connect) == (("a:1", "b:2"), ("c:3",))
    assert (config.node.key_file, config.admin.socket) == (Path("/k"), Path("/s"))
    assert (config.tun.enabled, config.tun.mtu, config.log.level) == (False, 1400, "debug")


def test_what_keeps_the_daemon_from_running_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Loaded, __: object) -> None:
        raise StartError("no way; do this instead")

    monkeypatch.setattr(run, "run_until_stopped", refuse)
    result = pineconed_says()
    assert (result.exit_code, result.stderr) == (1, "pineconed: no way; do this instead\n")


def test_the_journal_gets_it_as_an_error(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        subprocess.run(
            [sys.executable, "-m", "pineconed.daemon.main", "--config", "/nonexistent"],
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            stderr=journal,
            check=False,
        )
        journal.seek(0)
        assert journal.read().startswith("<3>pineconed: /nonexistent: there is no such file; ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--listen", "x"], "pineconed: --listen: 'x': no port; "),
        (["--config", "/nonexistent"], "pineconed: /nonexistent: there is no such file; "),
        (["--tun", "a/b"], "pineconed: --tun: expected an interface name"),
        (["--log-level", "loud"], 'pineconed: --log-level: expected "debug", "info", "warning" or "error"'),
        (["--unknown"], "Usage: pineconed "),
        (["unknown"], "Usage: pineconed "),
        (["--listen"], "Error: Option '--listen' requires an argument."),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(
    runs: list[Loaded], arguments: list[str], complaint: str
) -> None:
    result = pineconed_says(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(complaint)
    assert not runs


def test_every_mistake_of_a_file_has_its_line(runs: list[Loaded], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("a = 1\nb = 2\n")
    result = pineconed_says("--config", str(file))
    assert result.exit_code == 2
    starts = [line.partition(": unknown")[0] for line in result.stderr.splitlines()]
    assert starts == [f"pineconed: {file}:1: a", f"pineconed: {file}:2: b"]
    assert not runs


# ---------------------------------------------------------------- the other commands


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_tells_a_stranger_what_it_is_and_how_to_begin(flag: str) -> None:
    text = pineconed_says(flag).stdout
    for part in ("IPv6 address", "Examples:", "--connect tcp://", "--tun none", "Exit codes:", "genconf"):
        assert part in text


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str]) -> None:
    assert pineconed_says(*arguments).stdout == f"pineconed {pineconed.__version__}\n"


def test_genconf_prints_a_file_that_is_right(tmp_path: Path) -> None:
    result = pineconed_says("genconf")
    assert result.exit_code == 0
    (tmp_path / "c").write_text(result.stdout)
    assert pineconed_says("check-config", "--config", str(tmp_path / "c")).exit_code == 0


def test_check_config_names_the_file_that_it_has_read(tmp_path: Path) -> None:
    file = tmp_path / "c"
    file.touch()
    for arguments in (["--config", str(file), "check-config"], ["check-config", "--config", str(file)]):
        result = pineconed_says(*arguments)
        assert (result.exit_code, result.stdout) == (0, f"{file} is right\n")


def test_check_config_without_a_file() -> None:
    says = pineconed_says("check-config").stdout
    assert says == "there is no /etc/pineconed/pineconed.toml, so every setting is at its default\n"


def test_a_file_that_cannot_be_read_is_told_by_its_reader(
    tmp_path: Path, runs: list[Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as for an ordinary user
    file = tmp_path / "c"
    file.touch()
    assert pineconed_says("--config", str(file), "--key-file", str(file)).exit_code == 0
    assert runs


def test_check_config_tells_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("\nfoo = 1")
    result = pineconed_says("check-config", "--config", str(tmp_path / "c"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"pineconed: {tmp_path}/c:2: foo: unknown key")


def test_check_config_reads_the_saved_peers_too(tmp_path: Path) -> None:
    saved = tmp_path / "peers.toml"
    saved.write_text('connect = ["gopher://x"]')
    (tmp_path / "c").write_text(f'[peering]\nsaved_peers = "{saved}"')
    result = pineconed_says("check-config", "--config", str(tmp_path / "c"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"pineconed: {saved}:1: ")


KEY_FACTS = r"public key [0-9a-f]{64}\naddress    fd[0-9a-f:]+\n"


def test_genkey_prints_a_key_and_beside_it_what_follows_from_it() -> None:
    result = pineconed_says("genkey")
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.stdout)
    assert re.fullmatch(KEY_FACTS, result.stderr)


def test_genkey_writes_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    file = tmp_path / "k"
    result = pineconed_says("genkey", "--out", str(file))
    assert re.fullmatch(KEY_FACTS, result.stdout)
    assert re.fullmatch(r"[0-9a-f]{64}\n", file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600


def test_genkey_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text("precious")
    result = pineconed_says("genkey", "--out", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "exists and is not overwritten" in result.stderr
    assert file.read_text() == "precious"


def test_genkey_tells_why_it_cannot_write(tmp_path: Path) -> None:
    result = pineconed_says("genkey", "--out", str(tmp_path / "a" / "k"))
    assert result.exit_code == 1
    assert result.stderr == (
        f"pineconed: cannot write {tmp_path}/a/k: No such file or directory; name a file in a folder that is "
        "there and that this user may write to\n"
    )
