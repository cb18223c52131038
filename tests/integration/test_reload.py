# SPDX-License-Identifier: Apache-2.0
"""A daemon that is told to read its configuration again, and peers that outlive it."""

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pineconed.admin.client import AdminClient, decode
from pineconed.admin.schema import Peer
from tests.integration.test_daemon import AS_MODULE, Daemon
from tests.network.lab import wait_until

LISTENS = 'listen = ["tcp://127.0.0.1:{}"]\n'


class Farm:
    """Daemons of ordinary users, each with a configuration file and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, int] = {}
        self.daemons: list[Daemon] = []

    def start(self, name: str, text: str | None = None) -> Daemon:
        """Start a daemon, or start it again, with this in its file; without a text it only listens."""
        if text is not None or name not in self._ports:
            self.write(name, text or LISTENS.format(self.port(name)))
        self.daemons.append(Daemon(self._folder / name, program=AS_MODULE))
        return self.daemons[-1].ready()

    def port(self, name: str) -> int:
        if name not in self._ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[name] = probe.getsockname()[1]
        return self._ports[name]

    def uri(self, name: str) -> str:
        return f"tcp://127.0.0.1:{self.port(name)}"

    def write(self, name: str, text: str) -> Path:
        path = self._folder / name / "pineconed.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    yield made
    for daemon in made.daemons:
        daemon.process.kill()


def peers(daemon: Daemon) -> Mapping[str, Peer]:
    rows = decode(AdminClient(str(daemon.socket)).get("/v1/peers"), list[Peer])
    return {row.uri: row for row in rows}


def states(daemon: Daemon) -> dict[str, tuple[str, str | None]]:
    return {uri: (row.state, row.source) for uri, row in peers(daemon).items()}


def hang_up(daemon: Daemon) -> None:
    """Tell the daemon by a signal, and wait for it to be done."""
    count = daemon.process.text().count("the configuration is")
    os.kill(daemon.process.pid, signal.SIGHUP)
    wait_until(lambda: daemon.process.text().count("the configuration is") > count, 10, "a reload")


@pytest.mark.parametrize("by_signal", [True, False])
def test_only_what_has_changed_changes(farm: Farm, by_signal: bool) -> None:
    for name in ("stays", "goes", "comes"):
        farm.start(name)
    text = 'connect = ["{}", "{}"]\n' + LISTENS.format(farm.port("own"))
    own = farm.start("own", text.format(farm.uri("stays"), farm.uri("goes")))
    wait_until(lambda: own.status().peers == 2, 10, "two peers")
    farm.write("own", text.format(farm.uri("stays"), farm.uri("comes")) + "[log]\nlevel = 'debug'\n")
    if by_signal:
        hang_up(own)
    else:
        code, said = own.pineconectl("reload")
        assert code == 0, said
        assert said.splitlines() == [
            "the log level is debug",
            f"no longer dialling {farm.uri('goes')}",
            f"dialling {farm.uri('comes')}",
        ]
    up = {farm.uri("stays"): ("up", "file"), farm.uri("comes"): ("up", "file")}
    wait_until(lambda: states(own) == up, 10, lambda: f"{states(own)}")
    assert own.pineconectl("log-level")[1] == "debug\n"
    ends = [line for line in own.process.text().splitlines() if "peering down" in line]
    assert len(ends) == 1, "the peering that stays was not touched"
    assert "it is no longer in the configuration" in ends[0]


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_mistake_changes_nothing(farm: Farm, by_signal: bool) -> None:
    own = farm.start("own")
    other = farm.start("other")
    path = farm.write("own", f'connect = ["{farm.uri("other")}"]\n[tun]\nmtu = 3\nmut = 3\n')
    mistakes = [
        f"{path}:3: tun.mtu: expected a whole number from 1280 to 65000, found 3",
        f"{path}:4: tun.mut: unknown key; did you mean mtu?",
    ]
    if by_signal:
        hang_up(own)
    else:
        code, said = own.pineconectl("reload")
        assert (code, said.splitlines()[:2]) == (1, [f"pineconectl: {mistake}" for mistake in mistakes])
    logged = [line for line in own.process.text().splitlines() if "nothing is changed" in line]
    assert len(logged) == 2
    assert all(mistake in line for mistake, line in zip(mistakes, logged, strict=True))
    assert (states(own), own.status().listeners) == ({}, [farm.uri("own")])
    assert other.process.alive


def test_listeners_open_and_close(farm: Farm) -> None:
    own, other = farm.start("own"), farm.start("other")
    taken, new = farm.uri("other"), farm.uri("new")
    path = farm.write("own", f'listen = ["{taken}", "{new}"]\n[node]\nkey_file = "/elsewhere"\n')
    code, said = own.pineconectl("reload")
    assert code == 1, "part of it failed"
    assert f"no longer listening at {farm.uri('own')}" in said
    assert f"listening at {new}" in said
    assert f"failed: {taken}: cannot listen on 127.0.0.1:{farm.port('other')}: the address is in use" in said
    assert own.status().listeners == [new]
    other.ends()
    code, said = own.pineconectl("reload")
    assert (code, said) == (0, f"listening at {taken}\n"), "it is tried again, also if the file is the same"
    assert path.read_text()


def test_settings_that_need_a_start_are_named(farm: Farm) -> None:
    own = farm.start("own")
    farm.write("own", LISTENS.format(farm.port("own")) + "[tun]\nmtu = 1280\n[admin]\nmode = '0600'\n")
    code, said = own.pineconectl("reload")
    assert (code, said.splitlines()) == (
        0,
        ["takes effect at the next start: tun.mtu", "takes effect at the next start: admin.mode"],
    )


def test_a_blocked_peer_is_cut_off_by_a_reload(farm: Farm) -> None:
    own = farm.start("own")
    other = farm.start("other", f'connect = ["{farm.uri("own")}"]\n')
    wait_until(lambda: own.status().peers == 1, 10, "a peer")
    blocked = f'[peering]\nblocked_keys = ["{other.status().public_key}"]\n'
    farm.write("own", LISTENS.format(farm.port("own")) + blocked)
    code, said = own.pineconectl("reload")
    assert (code, said) == (0, "who may peer has changed\n")
    wait_until(lambda: own.status().peers == 0, 5, "no peer")


def test_a_listener_with_other_options_asks_its_peers_anew(farm: Farm) -> None:
    own = farm.start("own")
    farm.start("other", f'connect = ["{farm.uri("own")}"]\n')
    wait_until(lambda: own.status().peers == 1, 10, "a peer")
    farm.write("own", f'listen = ["{farm.uri("own")}?key={"ab" * 32}"]\n')
    assert own.pineconectl("reload")[0] == 0
    wait_until(lambda: own.status().peers == 0, 5, "no peer")
    wait_until(lambda: "is not allowed here" in own.process.text(), 10, "a refusal")


def test_what_is_off_by_a_flag_stays_off(farm: Farm) -> None:
    own = farm.start("own")
    farm.write("own", LISTENS.format(farm.port("own")) + "[multicast]\ninclude = ['nothing0']\n")
    assert own.pineconectl("reload") == (0, "nothing has changed\n"), "--no-multicast stands above the file"


def test_a_saved_peer_outlives_the_daemon(farm: Farm, tmp_path: Path) -> None:
    other = farm.start("other")
    own = farm.start("own")
    code, said = own.pineconectl("add-peer", "--save", farm.uri("other"))
    assert (code, said.splitlines()[0]) == (0, f"dialling {farm.uri('other')}")
    file = tmp_path / "own" / "peers.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    own.ends()
    own = farm.start("own")
    up = {farm.uri("other"): ("up", "saved")}
    wait_until(lambda: states(own) == up, 10, lambda: f"{states(own)}")
    code, said = own.pineconectl("add-peer", farm.uri("other"))
    assert (code, "already configured" in said) == (1, True)
    assert own.pineconectl("remove-peer", farm.uri("other"))[0] == 0
    own.ends()
    own = farm.start("own")
    assert states(own) == {}
    assert other.process.alive


def test_a_peer_of_the_file_that_was_removed_is_back_at_the_next_start(farm: Farm) -> None:
    farm.start("other")
    text = f'connect = ["{farm.uri("other")}"]\n'
    own = farm.start("own", text)
    wait_until(lambda: own.status().peers == 1, 10, "the peer")
    code, said = own.pineconectl("remove-peer", farm.uri("other"), "--json")
    assert (code, '"file"' in said) == (0, True)
    assert own.pineconectl("reload") == (0, "nothing has changed\n")
    assert states(own) == {}
    own.ends()
    own = farm.start("own", text)
    wait_until(lambda: own.status().peers == 1, 10, "the peer")


def test_a_saved_file_with_a_mistake_keeps_the_daemon_from_starting(farm: Farm, tmp_path: Path) -> None:
    farm.write("own", "")
    file = tmp_path / "own" / "peers.toml"
    file.write_text('connect = [\n    "gopher://x",\n]\n')
    daemon = Daemon(tmp_path / "own")
    farm.daemons.append(daemon)
    code, said = daemon.fails()
    assert code == 2
    assert said.startswith(f"pineconed: {file}:2: connect: 'gopher://x': unknown scheme")
