# SPDX-License-Identifier: Apache-2.0
"""A laboratory of network namespaces: hosts, links, cuts and processes that vanish when the test is over.

A `Lab` owns everything it makes. Its namespaces carry its own process id in their names, so that several
runs can live side by side and a later run can tell what a crashed one left behind (`sweep`). Every wait in
here has an end: a command has a timeout, a condition has a deadline, a process is killed if it does not stop.

The links between hosts are plain veth pairs with one IPv4 network each and no IPv6 at all, so that nothing
but the peerings a test asks for comes about. Traffic never leaves the namespaces.
"""

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "pclab"
"""All namespaces of all labs begin with this, then the process id of the run, then a number."""

CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
"""The option of sockets; `socket` does not have it."""
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class LabError(Exception):
    """A command failed, a process died or a condition did not come true in time."""


def wait_until(
    condition: Callable[[], bool], timeout: float, what: str | Callable[[], str], interval: float = 0.1
) -> float:
    """Wait for `condition` and return how many seconds it took; LabError names `what` after `timeout`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout:
            raise LabError(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(interval)
    return time.monotonic() - started


def run(argv: Sequence[str], timeout: float = 20.0, stdin: str | None = None) -> str:
    """Run one command and return what it printed; LabError with its messages when it fails."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: not done after {timeout:g} s") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Process:
    """A program running inside a namespace, with everything it prints in a file."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def restart(self) -> None:
        """Start the same command again after it was stopped; the log goes on in the same file."""
        self.kill()
        self._popen = self._start()

    def text(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Wait until a line of the log matches `pattern`; LabError when the process ends before."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            match = re.search(pattern, self.text(), re.MULTILINE)
            if match:
                found.append(match)
            elif not self.alive:
                code = self._popen.returncode
                raise LabError(f"{self.name} ended with code {code}:\n{self.text()[-2000:]}")
            return bool(match)

        wait_until(matches, timeout, lambda: f"{pattern!r} in the log of {self.name}:\n{self.text()[-2000:]}")
        return found[0]

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process and return its exit code."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name} did not end within {timeout:g} s") from error

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self._popen.send_signal(signal.SIGINT)

    def stop(self, timeout: float = 5.0) -> int:
        """Ask the process to end (SIGTERM), force it after `timeout` seconds, return the exit code."""
        if self.alive:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._popen.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """End the process and whatever it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait(10)

    def memory_bytes(self) -> int:
        """Resident memory now."""
        return self._memory("VmRSS")

    def peak_memory_bytes(self) -> int:
        """The most resident memory so far."""
        return self._memory("VmHWM")

    def _memory(self, field_name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"^{field_name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def open_files(self) -> int:
        """How many file descriptors the process holds."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class Namespace:
    """One host of the lab: a network namespace with its loopback up and IPv6 without link-local addresses."""

    def __init__(self, lab: "Lab", label: str, name: str) -> None:
        self.lab = lab
        self.label = label
        self.name = name
        self.processes: list[Process] = []
        run(["ip", "netns", "add", name])
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def enter(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` inside this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, timeout: float = 20.0, stdin: str | None = None) -> str:
        """Run a command inside and return its output; LabError when it fails or takes too long."""
        return run(self.enter(*argv), timeout, stdin)

    def start(self, name: str, *argv: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a program inside; it is killed with the lab at the latest."""
        number = f"{self.name.rpartition('-')[2]}.{len(self.processes)}"
        log = self.lab.directory / f"{number}-{self.label}-{name}.log"
        process = Process(f"{name} on {self.label}", self.enter(*argv), log, environment)
        self.processes.append(process)
        return process

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """Make a socket that lives in this namespace (a socket stays where it was made)."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            try:
                enter_network(self.path)
                made.append(socket.socket(family, kind, protocol))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join(10)
        if not made or isinstance(made[0], OSError):
            raise LabError(f"no socket in {self.label}: {made}")
        return made[0]

    def connect(self, host: str, port: int, timeout: float = 5.0, source: str | None = None) -> socket.socket:
        """Open a TCP connection from inside this namespace; OSError when refused."""
        connection = self.open_socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            connection.settimeout(timeout)
            if source is not None:
                connection.bind((source, 0))
            connection.connect((host, port))
        except OSError:
            connection.close()
            raise
        return connection

    def sent_packets(self, device: str) -> int:
        """How many packets `device` has sent so far."""
        output = self.run("ip", "-s", "-o", "link", "show", "dev", device)
        match = re.search(r"TX:.*?\\\s+\d+\s+(\d+)", output)
        if not match:
            raise LabError(f"no counters in {output!r}")
        return int(match[1])

    def close(self) -> None:
        """Kill what runs inside and take the namespace away."""
        for process in self.processes:
            process.kill()
        remove_namespace(self.name)


@dataclass
class Link:
    """A veth pair between two hosts with an address on each end (10.77.x.1 and 10.77.x.2)."""

    number: int
    a: Namespace
    b: Namespace
    cut: str | None = field(default=None)

    @property
    def device(self) -> str:
        """The interface name, the same at both ends."""
        return f"v{self.number}"

    def address(self, of: Namespace) -> str:
        """The IPv4 address of one end."""
        return f"10.77.{self.number}.{1 if of is self.a else 2}"

    def other(self, than: Namespace) -> Namespace:
        """The host at the far end."""
        return self.b if than is self.a else self.a

    def drop(self) -> None:
        """Cut silently: from now on no packet passes in either direction."""
        self._rules("drop", "drop")

    def refuse(self) -> None:
        """Cut loudly: connections across the link are reset at once and every new one is refused."""
        refuse = "meta l4proto tcp tcp flags & rst == 0 reject with tcp reset"
        self._rules(refuse, refuse)
        self.reset()

    def reset(self) -> None:
        """Reset the connections across the link; new ones can be made."""
        for end in (self.a, self.b):
            with contextlib.suppress(LabError):
                end.run("ss", "-K", "-t", "dst", self.address(self.other(end)))

    def _rules(self, inbound: str, outbound: str) -> None:
        self.heal()
        for end in (self.a, self.b):
            chain = "type filter hook {} priority -300;"
            end.run(
                "nft",
                "-f",
                "-",
                stdin=(
                    f"table inet cut{self.number} {{\n"
                    f" chain in {{ {chain.format('input')} iifname {self.device} {inbound}; }}\n"
                    f" chain out {{ {chain.format('output')} oifname {self.device} {outbound}; }}\n"
                    "}\n"
                ),
            )
        self.cut = inbound

    def heal(self) -> None:
        """Undo `drop` or `refuse`."""
        if self.cut is None:
            return
        for end in (self.a, self.b):
            end.run("nft", "delete", "table", "inet", f"cut{self.number}")
        self.cut = None

    def limit(self, megabits: int, queue_bytes: int = 262_144) -> None:
        """Give both directions a bandwidth."""
        for end in (self.a, self.b):
            bucket = f"tbf rate {megabits}mbit burst 64kb limit {queue_bytes}"
            end.run("tc", "qdisc", "replace", "dev", self.device, "root", *bucket.split())


class Lab:
    """Everything one test builds; a context manager that takes it all away again."""

    _numbers = itertools.count()

    def __init__(self, directory: Path | None = None) -> None:
        sweep()
        self._own_directory = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-")) if directory is None else directory
        self.namespaces: list[Namespace] = []
        self.links: list[Link] = []
        self._link_numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def host(self, label: str) -> Namespace:
        """Add a host; `label` names its log files."""
        namespace = Namespace(self, label, f"{PREFIX}-{os.getpid()}-{next(Lab._numbers)}")
        self.namespaces.append(namespace)
        return namespace

    def hosts(self, labels: str) -> list[Namespace]:
        """Add several hosts, one for each word of `labels`."""
        return [self.host(label) for label in labels.split()]

    def link(self, a: Namespace, b: Namespace) -> Link:
        """Connect two hosts by a veth pair with addresses and IPv6 off."""
        link = Link(next(self._link_numbers), a, b)
        device = link.device
        run(["ip", "link", "add", device, "netns", a.name, "type", "veth", "peer", device, "netns", b.name])
        for end in (a, b):
            end.run("ip", "link", "set", device, "addrgenmode", "none")
            end.run("ip", "address", "add", f"{link.address(end)}/24", "dev", device)
            end.run("ip", "link", "set", device, "up")
        self.links.append(link)
        return link

    def bridge(self, hosts: Sequence[Namespace]) -> dict[str, str]:
        """Put hosts on one Ethernet segment; returns the IPv4 address of each by label."""
        middle = self.host("bridge")
        middle.run("ip", "link", "add", "br0", "type", "bridge")
        middle.run("ip", "link", "set", "br0", "up")
        number = next(self._link_numbers)
        addresses = {}
        for position, host in enumerate(hosts, 1):
            port = f"p{position}"
            run(
                [
                    "ip",
                    "link",
                    "add",
                    f"v{number}",
                    "netns",
                    host.name,
                    "type",
                    "veth",
                    "peer",
                    port,
                    "netns",
                    middle.name,
                ]
            )
            middle.run("ip", "link", "set", port, "master", "br0", "up")
            host.run("ip", "link", "set", f"v{number}", "addrgenmode", "none")
            addresses[host.label] = f"10.77.{number}.{position}"
            host.run("ip", "address", "add", f"{addresses[host.label]}/24", "dev", f"v{number}")
            host.run("ip", "link", "set", f"v{number}", "up")
        return addresses

    def close(self) -> None:
        """End every process and remove every namespace; what fails does not stop the rest."""
        failures = []
        for namespace in reversed(self.namespaces):
            try:
                namespace.close()
            except (LabError, OSError, subprocess.SubprocessError) as error:
                failures.append(error)
        self.namespaces.clear()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        if failures:
            raise LabError(f"not cleaned up: {failures}")


def enter_network(path: str) -> None:
    """Move the calling thread into the network namespace at `path`; OSError when that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(path).open() as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


def remove_namespace(name: str) -> None:
    """Kill what still runs in the namespace, then delete it."""
    for pid in run(["ip", "netns", "pids", name]).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run(["ip", "netns", "delete", name])


def sweep() -> None:
    """Remove the namespaces of earlier runs whose process is gone."""
    for name in list(leftovers()):
        with contextlib.suppress(LabError):
            remove_namespace(name)


def leftovers() -> Iterator[str]:
    """Names of namespaces that a lab made whose process does not live any more."""
    for line in run(["ip", "netns", "list"]).splitlines():
        match = re.match(rf"({PREFIX}-(\d+)-\d+)\b", line)
        if match and not Path(f"/proc/{match[2]}").exists():
            yield match[1]
