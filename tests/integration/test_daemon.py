# SPDX-License-Identifier: Apache-2.0
"""The whole daemon as its own process, without privileges, over loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pineconed.admin.client import AdminClient, ClientError, decode
from pineconed.admin.schema import Peer, Session, Sessions, Status
from tests.network.lab import Process, wait_until

STOP_LIMIT = 2.0
"""Seconds within which a daemon stops when it is asked to."""

READY_LIMIT = 1.5
"""Seconds from the start of the process to its being ready."""

AS_MODULE = ["-m", "pineconed.daemon.main"]

DEAF_RESOLVER = """
import socket, time
real = socket.getaddrinfo
def deaf(host, *rest, **options):
    if "silent" in host and not options.get("flags"):
        time.sleep(60)
    return real(host, *rest, **options)
socket.getaddrinfo = deaf
from pineconed.daemon.main import main
main()
"""


HANGS_UP = """
import os, signal
from pineconed.daemon import app
opened = app.Daemon._open
async def open_after_signal(self):
    os.kill(os.getpid(), signal.SIGHUP)
    await opened(self)
app.Daemon._open = open_after_signal
from pineconed.daemon.main import main
main()
"""


SLEEPS = """
import os, signal
from pineconed.daemon import app, sleep
asleep = [0.0]
def read_clocks():
    boot, awake = sleep.read_clocks()
    return sleep.Clocks(boot + sum(asleep), awake)
app.read_clocks = read_clocks
signal.signal(signal.SIGUSR1, lambda *_: asleep.append(3600.0))
from pineconed.daemon.main import main
main()
"""
"""A daemon on a host that at a signal has slept for an hour."""


class Daemon:
    """A pineconed of an ordinary user, with its files in a folder of its own."""

    def __init__(self, folder: Path, *options: str, program: list[str] = AS_MODULE) -> None:
        folder.mkdir(exist_ok=True)
        self.socket = folder / "admin.sock"
        self.key = folder / "node.key"
        argv = ["--config", str(folder / "pineconed.toml"), "--tun", "none", "--no-multicast"]
        argv += ["--key-file", str(self.key), "--admin-socket", str(self.socket), *options]
        (folder / "pineconed.toml").touch()
        command = [*WITHOUT_PRIVILEGES, sys.executable, *program, *argv]
        (folder / "log").unlink(missing_ok=True)
        self.process = Process(folder.name, command, folder / "log")

    def status(self) -> Status:
        return decode(AdminClient(str(self.socket)).get("/v1/status"), Status)

    def sessions(self) -> list[Session]:
        return decode(AdminClient(str(self.socket)).get("/v1/sessions"), Sessions).sessions

    def pineconectl(self, *arguments: str) -> tuple[int, str]:
        """The exit code and all words of a command."""
        command = [sys.executable, "-c", "from pineconed.cli.main import main; main()"]
        command += ["--socket", str(self.socket), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return run.returncode, run.stdout + run.stderr

    def ready(self) -> "Daemon":
        self.process.wait_for("pineconed is ready", 20)
        return self

    @property
    def uri(self) -> str:
        """Where this daemon listens."""
        return self.process.wait_for(r"listen=(tcp://\S+)")[1]

    def ends(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit code and how long the end took."""
        started = time.monotonic()
        os.kill(self.process.pid, number)
        code = self.process.wait(10)
        return code, time.monotonic() - started

    def fails(self) -> tuple[int, str]:
        """The exit code and the words of a daemon that does not start."""
        return self.process.wait(20), self.process.text()


WITHOUT_PRIVILEGES = (
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"] if os.geteuid() == 0 else []
)
"""Root without any capability may do no more than an ordinary user."""

Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a daemon by name; whatever still runs at the end of the test is killed."""
    daemons: list[Daemon] = []

    def start_one(name: str, *options: str, program: list[str] = AS_MODULE) -> Daemon:
        daemons.append(Daemon(tmp_path / name, *options, program=program))
        return daemons[-1]

    yield start_one
    for daemon in daemons:
        daemon.process.kill()


def are_one_network(one: Daemon, two: Daemon) -> bool:
    first, second = one.status(), two.status()
    return first.peers == second.peers == 1 and first.root == second.root


def test_two_daemons_of_ordinary_users_peer_and_stop_when_told(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    two = start("two", "--connect", one.uri).ready()
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{one.process.pid}/status").read_text()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    roots = {one.status().root.public_key}
    assert roots == {max(one.status().public_key, two.status().public_key)}
    for daemon in (one, two):
        code, took = daemon.ends()
        assert (code, took < STOP_LIMIT) == (0, True)
        assert not daemon.socket.exists()
        assert not daemon.socket.with_name("admin.sock.lock").exists()
    assert one.process.text().count("peering up") == 1
    assert one.process.text().count("peering down") == 1
    assert "Traceback" not in one.process.text() + two.process.text()


def test_the_key_is_made_once_and_a_restart_is_the_same_node(start: Start) -> None:
    one = start("one").ready()
    before = one.status()
    assert one.key.stat().st_mode & 0o777 == 0o600
    one.ends()
    after = start("one").ready().status()
    assert (after.public_key, after.address) == (before.public_key, before.address)
    assert after.root.sequence >= before.root.sequence


RESTART_LIMIT = 5.0
"""Seconds from the end of one node to the next answer inside a session with it."""


def test_a_ping_between_them_goes_by_a_session_that_both_show(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    two = start("two", "--connect", one.uri).ready()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    assert one.sessions() == two.sessions() == []
    code, text = one.pineconectl("ping", two.status().address, "-c", "3", "-i", "0.1")
    assert code == 0, text
    assert "3 sent, 3 answered, 0% lost" in text
    assert text.count("(after the handshake)") == 1
    [row], [back] = one.sessions(), two.sessions()
    assert (row.public_key, back.public_key) == (two.status().public_key, one.status().public_key)
    assert [row.state, row.cipher, row.hybrid, row.in_clear] == ["up", "AES-256-GCM", True, False]
    assert (row.initiator, back.initiator) == (True, False)
    assert row.rtt_seconds is not None
    assert row.rtt_seconds < 0.5
    for daemon in (one, two):
        assert daemon.process.text().count("session up") == 1
        assert "Traceback" not in daemon.process.text()


def test_a_ping_that_fails_says_at_what(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    code, text = one.pineconectl("ping", "fd01::1", "-c", "1")
    assert (code, "the route fails" in text) == (5, True)
    two = start("two", "--connect", one.uri).ready()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    lower = min(one, two, key=lambda daemon: daemon.status().public_key)
    code, text = lower.pineconectl("ping", beyond(lower), "-c", "1", "-W", "1")
    assert (code, "the session fails" in text) == (6, True)


def beyond(daemon: Daemon) -> str:
    """The key next above a daemon's own, which nobody has."""
    return f"{int(daemon.status().public_key, 16) + (1 << 136):064x}"


def test_a_node_that_stops_takes_leave(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    two = start("two", "--connect", one.uri).ready()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    assert one.pineconectl("ping", two.status().address, "-c", "1")[0] == 0
    two.ends()
    one.process.wait_for("session down .*closed by the peer", 5)
    assert one.sessions() == []


@pytest.mark.exact
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("asks", ["the one that stays", "the one that was restarted"])
def test_after_a_restart_the_session_is_back_at_once(start: Start, asks: str, number: signal.Signals) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    two = start("two", "--connect", one.uri).ready()
    addresses = {"one": one.status().address, "two": two.status().address}
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    assert one.pineconectl("ping", addresses["two"], "-c", "1")[0] == 0
    began = time.monotonic()
    two.ends(number)
    two = start("two", "--connect", one.uri).ready()
    asking, asked = (one, "two") if asks == "the one that stays" else (two, "one")
    while asking.pineconectl("ping", addresses[asked], "-c", "1", "-W", "0.3")[0]:
        assert time.monotonic() - began < 2 * RESTART_LIMIT
    took = time.monotonic() - began
    print(f"from the end to the next echo: {took:.2f} s")
    assert took < RESTART_LIMIT


def test_the_peers_find_each_other_again_after_a_kill(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    two = start("two", "--connect", one.uri).ready()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    one.process.kill()
    assert one.socket.is_socket()
    again = start("one", "--listen", one.uri).ready()
    wait_until(lambda: are_one_network(again, two), 15, "one network again")


def test_only_one_daemon_per_key_and_per_socket(start: Start) -> None:
    one = start("one").ready()
    pid = one.process.pid
    code, text = start("two", "--key-file", str(one.key)).fails()
    assert (code, text.count("\n")) == (1, 1)
    assert f"another pineconed (process {pid}) runs with the key {one.key}" in text
    code, text = start("three", "--admin-socket", str(one.socket)).fails()
    assert code == 1
    assert f"another pineconed (process {pid}) uses the admin socket {one.socket}" in text
    assert one.status().peers == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop_it(start: Start, number: signal.Signals) -> None:
    code, took = start("one").ready().ends(number)
    assert (code, took < STOP_LIMIT) == (0, True)


def test_a_hang_up_while_it_starts_is_a_reload_afterwards(start: Start) -> None:
    one = start("one", program=["-c", HANGS_UP])
    one.process.wait_for("the configuration is reloaded", 10)
    assert one.status().peers == 0


def test_it_stops_in_time_while_it_dials(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as filler:
        filler.connect(server.getsockname())  # from now on the kernel answers no one
        port = server.getsockname()[1]
        one = start(
            "one", "--connect", f"tcp://127.0.0.1:{port}", "--connect", f"tcp://localhost:{port}"
        ).ready()
        wait_until(lambda: "SYN_SENT" in sockets_to(port), 5, "a dial that hangs")
        code, took = one.ends()
    assert (code, took < STOP_LIMIT) == (0, True)


def sockets_to(port: int) -> str:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    states = {row[3] for row in rows if row[2].endswith(f":{port:04X}")}
    return "SYN_SENT" if "02" in states else "none"


@pytest.mark.parametrize(
    ("option", "state"),
    [("--connect", "pineconed is ready"), ("--listen", "made a new key")],
    ids=["a peer", "a listener, while it still starts"],
)
def test_it_stops_in_time_while_it_resolves(start: Start, option: str, state: str) -> None:
    one = start("one", option, "tcp://silent.invalid:1", program=["-c", DEAF_RESOLVER])
    one.process.wait_for(state, 20)
    time.sleep(0.3)
    code, took = one.ends()
    assert (code, took < STOP_LIMIT) == (0, True)
    assert "Traceback" not in one.process.text()


def test_after_sleep_everybody_is_dialled_at_once(start: Start, tmp_path: Path) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "pineconed.toml").write_text("[peering]\nbackoff_min = 300\nbackoff_max = 600\n")
    two = start("two", "--connect", one.uri, "--connect", "tcp://127.0.0.1:1", program=["-c", SLEEPS]).ready()
    wait_until(lambda: are_one_network(one, two), 10, "one network")
    two.process.wait_for("cannot connect uri=tcp://127.0.0.1:1")
    os.kill(two.process.pid, signal.SIGUSR1)
    two.process.wait_for("this host was asleep seconds=3600", 3)
    two.process.wait_for("peering down .*reason='this host slept for 3600 s'", 1)
    wait_until(lambda: two.process.text().count("peering up") == 2, 1, "the peer again")

    def tries() -> int:
        rows = decode(AdminClient(str(two.socket)).get("/v1/peers"), list[Peer])
        return next(row.attempts or 0 for row in rows if row.uri == "tcp://127.0.0.1:1")

    wait_until(lambda: tries() >= 2, 2, "a try without waiting for the back-off")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--tun", "pine0"], 1, "no permission to create the TUN device pine0; run as root"),
        (
            ["--listen", "tcp://192.0.2.1:4444"],
            1,
            "tcp://192.0.2.1:4444: cannot listen on .* no such address; ip addr",
        ),
        (
            ["--key-file", "/nonexistent/a/key"],
            1,
            "cannot create the key file /nonexistent/a/key: .*--key-file",
        ),
        (["--admin-socket", "/nonexistent/a/s"], 1, "cannot create the admin socket .*--admin-socket none"),
        (["--config", "/nonexistent"], 2, "/nonexistent: there is no such file"),
        (["--connect", "nonsense"], 2, "--connect: 'nonsense': no port"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    start: Start, options: list[str], code: int, words: str
) -> None:
    one = start("one", *options)
    exit_code, text = one.fails()
    one.process.wait_for(f"^pineconed: .*{words}", 1)
    assert exit_code == code
    assert "Traceback" not in text


def test_a_port_that_is_taken_is_told(start: Start) -> None:
    one = start("one", "--listen", "tcp://127.0.0.1:0").ready()
    code, text = start("two", "--listen", one.uri).fails()
    assert code == 1
    assert f"pineconed: {one.uri}: cannot listen on " in text
    assert "the address is in use" in text


def test_the_admin_socket_can_be_left_out_and_then_costs_nothing(start: Start) -> None:
    one = start("one", "--admin-socket", "none").ready()
    assert "aiohttp" not in Path(f"/proc/{one.process.pid}/maps").read_text()
    assert not one.socket.exists()
    with pytest.raises(ClientError):
        one.status()
    assert one.ends()[0] == 0


def test_json_lines_on_request(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "pineconed.toml").write_text('[log]\nformat = "json"')
    one = start("one").ready()
    one.process.wait_for(r'^\{.*"event": "pineconed is ready".*\}$')


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd waits for news."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(str(tmp_path / "notify"))
        waiting.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield waiting


def test_systemd_hears_that_it_is_ready_soon(start: Start, manager: socket.socket) -> None:
    times = []
    for _ in range(4):  # the first start also fills the caches
        started = time.monotonic()
        one = start("one", "--listen", "tcp://127.0.0.1:0")
        assert manager.recv(100) == b"READY=1"
        times.append(time.monotonic() - started)
        one.status()
        one.ends()
        while (told := manager.recv(200)) != b"STOPPING=1":
            assert told.startswith(b"STATUS=")
    print("from start to ready:", ", ".join(f"{seconds:.2f} s" for seconds in times))
    assert min(times[1:]) <= READY_LIMIT
