# SPDX-License-Identifier: Apache-2.0
"""Nodes for the lab: our own daemon, and the reference's `pinecone` and `pineconeip`.

Each class starts one node inside a namespace and answers the same questions about it: its key, its root, its
tree coordinates, how many peers it has. Our daemon answers by `pineconectl`, the reference by its diagnostic
page.
"""

import http.client
import ipaddress
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nacl.signing import SigningKey

from tests.network.lab import LabError, Namespace, Process, wait_until

PORT = 7000
"""Where every node of a lab listens for peerings."""


@dataclass(frozen=True)
class TreePlace:
    """Where a node stands in the tree: the root it follows, its coordinates, the number of peers it has."""

    root: str
    coords: tuple[int, ...]
    peers: int


def overlay_address(public_key: bytes) -> str:
    """The IPv6 address of a key, in the form ping takes (protocol section 11)."""
    octets = b"\xfd" + public_key[:15]
    return ":".join(octets[index : index + 2].hex() for index in range(0, 16, 2))


def seed_with_prefix(prefix: str, rank: int = 0) -> bytes:
    """Return a seed, always the same, whose public key begins with the hexadecimal `prefix`."""
    number = 0
    while True:
        seed = (rank * 1_000_000 + number).to_bytes(32, "big")
        if bytes(SigningKey(seed).verify_key).hex().startswith(prefix):
            return seed
        number += 1


class Pineconed:
    """One `pineconed` of ours; it looks for nobody on its network unless `options` say `--multicast`."""

    def __init__(
        self,
        host: Namespace,
        listen: Sequence[str] = (f"0.0.0.0:{PORT}",),
        connect: Sequence[str] = (),
        tun: str = "pine0",
        seed: bytes | None = None,
        options: Sequence[str] = (),
        log_level: str = "info",
        configuration: str = "",
        program: Sequence[str] = (),
    ) -> None:
        """`program` is the command line of another program that takes the same arguments."""
        self.host = host
        self._program = list(program) or [command("pineconed")]
        self.directory = Path(tempfile.mkdtemp(prefix="node-", dir=host.lab.directory))
        self.socket = self.directory / "admin.sock"
        seed = seed or os.urandom(32)
        self.public_key = self.key_of(seed)
        self.address = overlay_address(self.public_key)
        (self.directory / "pineconed.toml").write_text(configuration)
        write_key(self.directory / "node.key", seed)
        self.process = self._start(listen, connect, tun, log_level, options)

    def _start(
        self, listen: Sequence[str], connect: Sequence[str], tun: str, log_level: str, options: Sequence[str]
    ) -> Process:
        argv = [*self._program, "--config", str(self.directory / "pineconed.toml")]
        argv += ["--key-file", str(self.directory / "node.key"), "--admin-socket", str(self.socket)]
        for uri in listen:
            argv += ["--listen", with_scheme(uri)]
        for uri in connect:
            argv += ["--connect", with_scheme(uri)]
        argv += ["--tun", tun, "--log-level", log_level, "--no-multicast", *options]
        return self.host.start("pineconed", *argv)

    @staticmethod
    def key_of(seed: bytes) -> bytes:
        """The public key of a node with this seed."""
        return bytes(SigningKey(seed).verify_key)

    def address_shown(self) -> str:
        """The address as the kernel prints it."""
        return str(ipaddress.IPv6Address(self.address))

    def ctl(self, *arguments: str) -> Any:
        """Run `pineconectl … --json` and return what it says."""
        argv = [command("pineconectl"), "--socket", str(self.socket)]
        return json.loads(self.host.run(*argv, *arguments, "--json"))

    def status(self) -> dict[str, Any]:
        result: dict[str, Any] = self.ctl("status")
        return result

    def peers(self) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.ctl("peers")
        return result

    def wait_ready(self, timeout: float = 20.0) -> Self:
        """Wait until the daemon answers on its admin socket."""
        wait_until(self._answers, timeout, lambda: f"an answer of pineconed:\n{self.process.text()[-2000:]}")
        return self

    def _answers(self) -> bool:
        if not self.process.alive:
            raise LabError(f"pineconed ended:\n{self.process.text()[-3000:]}")
        if not self.socket.exists():
            return False
        try:
            self.status()
        except LabError:
            return False
        return True

    def place(self) -> TreePlace:
        status = self.status()
        return TreePlace(status["root"]["public_key"], tuple(status["coords"]), status["peers"])

    def ports(self) -> dict[int, str]:
        """Port numbers in use and the key at the other end of each."""
        return {peer["port"]: peer["public_key"] for peer in self.peers() if peer["port"] is not None}

    def wait_peers(self, count: int, timeout: float = 30.0) -> None:
        """Wait until exactly `count` peerings are up."""
        wait_until(lambda: self.status()["peers"] == count, timeout, lambda: f"{count} peers: {self.peers()}")

    def disconnects(self) -> list[str]:
        """Lines of the log that say a peering ended."""
        return [line for line in self.process.text().splitlines() if re.search(DISCONNECT, line)]


DISCONNECT = "peering down"


def with_scheme(uri: str) -> str:
    """The URI, of `tcp` if it names no scheme."""
    return uri if "://" in uri else f"tcp://{uri}"


def command(name: str) -> str:
    """Return the program of that name which was installed beside the Python that runs the tests.

    The environment variable PINECONED or PINECONECTL names another one.
    """
    return os.environ.get(name.upper()) or str(Path(sys.executable).with_name(name))


def write_key(path: Path, seed: bytes) -> None:
    """Write a node key file as the daemon keeps it: the seed in hexadecimal, readable by the owner only."""
    path.touch(mode=0o600)
    path.write_text(seed.hex() + "\n")


class GoRouter:
    """The reference's `pinecone`: a router without a TUN device, key from a seed, diagnostics over HTTP.

    The diagnostics share their port with its WebSocket listener.
    """

    DIAGNOSTICS = 7080

    def __init__(
        self,
        host: Namespace,
        connect: Sequence[str] = (),
        seed: bytes | None = None,
        web_address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        seed = seed or os.urandom(32)
        self.public_key = bytes(SigningKey(seed).verify_key)
        argv = [os.environ["PINECONE_GO"], "-listen", f"0.0.0.0:{PORT}", "-secretkey", seed.hex()]
        argv += ["-listenws", f"{web_address}:{self.DIAGNOSTICS}", "-manhole"]
        if connect:
            argv += ["-connect", ",".join(connect)]
        self.process = host.start("pinecone", *argv, environment=environment)

    def wait_ready(self, timeout: float = 10.0) -> Self:
        """Wait until both listeners are there (a port probe would end the reference's `pineconeip`)."""
        self.process.wait_for(rf"^Listening on \S+:{PORT}$", timeout)
        self.process.wait_for(rf"^Listening for WebSockets on \S+:{self.DIAGNOSTICS}$", timeout)
        return self

    def diagnostics(self) -> dict[str, Any]:
        """Return the reference's own view of tree and snake."""
        connection = http.client.HTTPConnection("127.0.0.1", self.DIAGNOSTICS)
        connection.sock = self.host.connect("127.0.0.1", self.DIAGNOSTICS)
        try:
            connection.request("GET", "/manhole", headers={"Connection": "close"})
            result: dict[str, Any] = json.load(connection.getresponse())
        finally:
            connection.close()
        return result

    def place(self) -> TreePlace:
        seen = self.diagnostics()
        peers = sum(1 for ports in seen["peers"].values() for peer in ports if peer["port"])
        coords = tuple(int(port) for port in seen["coords"].strip("[]").split())
        return TreePlace(seen["root"]["root_public_key"], coords, peers)

    def ports(self) -> dict[int, str]:
        peers = self.diagnostics()["peers"]
        return {peer["port"]: key for key, rows in peers.items() for peer in rows if peer["port"]}

    def disconnects(self) -> list[str]:
        return go_disconnects(self.process)


def in_clear(*addresses: str) -> str:
    """The configuration of a node of ours that reaches these without sessions."""
    return f"[overlay]\nbare_ipv6 = {json.dumps(addresses)}\n"


class GoIp:
    """The reference's `pineconeip`: a node with a TUN device and a new key each time."""

    def __init__(self, host: Namespace, listen: str = f"0.0.0.0:{PORT}", connect: str = "") -> None:
        self.host = host
        argv = [os.environ["PINECONEIP_GO"], "-listen", listen]
        if connect:
            argv += ["-connect", connect]
        self.process = host.start("pineconeip", *argv)

    def wait_ready(self, timeout: float = 10.0) -> Self:
        """Wait until it listens and its device has an address."""
        self.process.wait_for(r"^Interface address: ", timeout)
        self.process.wait_for(r"^Listening on \S+:(?!0$)\d+$", timeout)
        return self

    @property
    def public_key(self) -> bytes:
        return bytes.fromhex(self.process.wait_for(r"^Router identity: ([0-9a-f]{64})$")[1])

    @property
    def address(self) -> str:
        return self.process.wait_for(r"^Interface address: (\S+)$")[1]

    def peer_count(self) -> int:
        """Peerings that are up, counted from the log."""
        connected = len(re.findall(r"^Connected to peer ", self.process.text(), re.MULTILINE))
        return connected - len(self.disconnects())

    def disconnects(self) -> list[str]:
        return go_disconnects(self.process)


def go_disconnects(process: Process) -> list[str]:
    """Lines of a reference node's log that say that a peering ended."""
    return re.findall(r"^Disconnected from peer .*$", process.text(), re.MULTILINE)
