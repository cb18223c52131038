# SPDX-License-Identifier: Apache-2.0
"""The overlays that are measured: how each is set up between the ends of a line of hosts.

`start` gets the hosts in order and the links between neighbours, and returns the processes and the addresses
by which the two ends reach each other. Programs that are not on this machine are left out.
"""

import json
import os
import re
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.network.lab import LabError, Link, Namespace, Process, run, wait_until
from tests.network.nodes import PORT, GoIp, Pineconed


@dataclass(frozen=True)
class Setup:
    """A running overlay: address of the first and of the last host, processes in order of hosts."""

    first: str
    last: str
    processes: Sequence[Process]


class Program(ABC):
    """One overlay that can be measured."""

    name: str
    encrypts = True
    """Whether packets are encrypted on the links."""
    relays = True
    """Whether it works through a host in the middle."""

    @abstractmethod
    def available(self) -> bool:
        """Say whether the program is on this machine."""

    @abstractmethod
    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        """Start it on all hosts; both ends can be reached when this returns."""


class BareVeth(Program):
    """No overlay: the link itself, forwarded by the kernel in the middle."""

    name = "veth alone"
    encrypts = False

    def available(self) -> bool:
        return True

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        for host in hosts[1:-1]:
            host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        first, last = links[0].address(hosts[0]), links[-1].address(hosts[-1])
        if len(hosts) == 3:
            middle = hosts[1]
            hosts[0].run("ip", "route", "add", "default", "via", links[0].address(middle))
            hosts[2].run("ip", "route", "add", "default", "via", links[1].address(middle))
        return Setup(first, last, [])


class OurDaemon(Program):
    """pineconed over one kind of peerings; the one in the middle has no TUN device."""

    def __init__(self, name: str, scheme: str = "tcp", configuration: str = "") -> None:
        self.name = name
        self._scheme = scheme
        self._configuration = configuration

    def available(self) -> bool:
        return True

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        nodes = []
        for position, host in enumerate(hosts):
            connect = []
            if host is not hosts[-1]:
                connect = [f"{self._scheme}://{links[position].address(hosts[position + 1])}:{PORT}"]
            tun = "pine0" if position in (0, len(hosts) - 1) else "none"
            listen = [f"{self._scheme}://0.0.0.0:{PORT}"]
            nodes.append(
                Pineconed(
                    host, listen, connect, tun=tun, log_level="warning", configuration=self._configuration
                )
            )
        for node in nodes:
            node.wait_ready()
        return Setup(nodes[0].address, nodes[-1].address, [node.process for node in nodes])


class Reference(Program):
    """The reference's pineconeip."""

    name = "pineconeip"
    encrypts = False

    def available(self) -> bool:
        return bool(os.environ.get("PINECONEIP_GO"))

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        hub = len(hosts) // 2
        listener = GoIp(hosts[hub]).wait_ready()
        nodes = {hub: listener}
        for position in range(len(hosts)):
            if position != hub:
                link = links[0] if position == 0 else links[-1]
                nodes[position] = GoIp(
                    hosts[position], connect=f"{link.address(hosts[hub])}:{PORT}"
                ).wait_ready()
        ordered = [nodes[position] for position in range(len(hosts))]
        return Setup(ordered[0].address, ordered[-1].address, [node.process for node in ordered])


class Yggdrasil(Program):
    """yggdrasil over TCP."""

    name = "yggdrasil"

    def available(self) -> bool:
        return shutil.which("yggdrasil") is not None

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        processes: list[Process] = []
        for position, host in reversed(list(enumerate(hosts))):  # who is dialled is there first
            settings = json.loads(run(["yggdrasil", "-genconf", "-json"]))
            settings |= {"AdminListen": "none", "MulticastInterfaces": [], "IfName": "ygg0", "IfMTU": 65535}
            settings["Listen"] = [f"tcp://0.0.0.0:{PORT}"]
            target = f"{links[position].address(hosts[position + 1])}:{PORT}" if host is not hosts[-1] else ""
            settings["Peers"] = [f"tcp://{target}"] if target else []
            path = host.lab.directory / f"{host.name}-yggdrasil.conf"
            path.write_text(json.dumps(settings))
            processes.insert(0, host.start("yggdrasil", "yggdrasil", "-useconffile", str(path)))
            processes[0].wait_for("listener started")
        return Setup(*end_addresses(hosts, "ygg0"), processes)


class Mycelium(Program):
    """mycelium over TCP."""

    name = "mycelium"

    def available(self) -> bool:
        return shutil.which("mycelium") is not None

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        processes: list[Process] = []
        for position, host in reversed(list(enumerate(hosts))):
            argv = ["mycelium", "--key-file", str(host.lab.directory / f"{host.name}.key")]
            argv += ["--tcp-listen-port", str(PORT), "--tun-name", "myc0", "--disable-peer-discovery"]
            if host is not hosts[-1]:
                argv += ["--peers", f"tcp://{links[position].address(hosts[position + 1])}:{PORT}"]
            processes.insert(0, host.start("mycelium", *argv))
            time.sleep(1)
        return Setup(*end_addresses(hosts, "myc0"), processes)


class WireGuard(Program):
    """wireguard-go, set up over its control socket; the host in the middle decrypts and encrypts again."""

    name = "wireguard-go"

    def available(self) -> bool:
        return shutil.which("wireguard-go") is not None

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        keys = [X25519PrivateKey.generate() for _ in hosts]
        devices = [f"wg{host.name.rpartition('-')[2]}" for host in hosts]
        processes = [
            host.start("wireguard-go", "wireguard-go", "-f", device)
            for host, device in zip(hosts, devices, strict=True)
        ]
        addresses = [f"10.99.0.{position + 1}" for position in range(len(hosts))]
        for position, host in enumerate(hosts):
            configure_wireguard(devices[position], self._settings(position, hosts, links, keys, addresses))
            host.run("ip", "address", "add", f"{addresses[position]}/24", "dev", devices[position])
            host.run("ip", "link", "set", devices[position], "up")
            host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        return Setup(addresses[0], addresses[-1], processes)

    def _settings(
        self,
        position: int,
        hosts: Sequence[Namespace],
        links: Sequence[Link],
        keys: Sequence[X25519PrivateKey],
        addresses: Sequence[str],
    ) -> str:
        """Name both neighbours; what lies beyond one is allowed through it."""
        lines = ["set=1", f"private_key={private_hex(keys[position])}", f"listen_port={PORT}"]
        for other in (position - 1, position + 1):
            if 0 <= other < len(hosts):
                link = links[min(position, other)]
                beyond = addresses[:position] if other < position else addresses[position + 1 :]
                lines += [
                    f"public_key={public_hex(keys[other])}",
                    f"endpoint={link.address(hosts[other])}:{PORT}",
                ]
                lines += [f"allowed_ip={address}/32" for address in beyond]
        return "\n".join(lines) + "\n\n"


def configure_wireguard(device: str, settings: str) -> None:
    """Write settings to the control socket of wireguard-go; LabError unless it takes them."""
    path = Path(f"/var/run/wireguard/{device}.sock")
    wait_until(path.exists, 5, f"the control socket of {device}")
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(path))
        control.sendall(settings.encode())
        answer = control.recv(4096).decode()
    if "errno=0" not in answer:
        raise LabError(f"wireguard-go: {answer}")


def private_hex(key: X25519PrivateKey) -> str:
    return key.private_bytes_raw().hex()


def public_hex(key: X25519PrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


class Nebula(Program):
    """nebula between two hosts; it has no multi-hop mesh, so the line of three is left out."""

    name = "nebula"
    relays = False

    def available(self) -> bool:
        return shutil.which("nebula") is not None and shutil.which("nebula-cert") is not None

    def start(self, hosts: Sequence[Namespace], links: Sequence[Link]) -> Setup:
        directory = hosts[0].lab.directory / f"nebula-{hosts[0].name}"
        directory.mkdir()
        authority = [str(directory / "ca.crt"), str(directory / "ca.key")]
        run(["nebula-cert", "ca", "-name", "lab", "-out-crt", authority[0], "-out-key", authority[1]])
        addresses = ["10.98.0.1", "10.98.0.2"]
        processes = []
        for number, host in enumerate(hosts):
            other = 1 - number
            crt, key = str(directory / f"{number}.crt"), str(directory / f"{number}.key")
            run(["nebula-cert", "sign", "-name", str(number), "-ip", f"{addresses[number]}/24", "-ca-crt",
                 authority[0], "-ca-key", authority[1], "-out-crt", crt, "-out-key", key])  # fmt: skip
            path = directory / f"{number}.yml"
            peer = f"{links[0].address(hosts[other])}:{PORT}"
            path.write_text(
                f"pki: {{ca: {authority[0]}, cert: {crt}, key: {key}}}\n"
                f'static_host_map: {{"{addresses[other]}": ["{peer}"]}}\n'
                f"listen: {{host: 0.0.0.0, port: {PORT}}}\ntun: {{dev: neb0, mtu: 1300}}\n"
                "lighthouse: {am_lighthouse: false}\nfirewall:\n"
                "  outbound: [{port: any, proto: any, host: any}]\n"
                "  inbound: [{port: any, proto: any, host: any}]\n"
            )
            processes.append(host.start("nebula", "nebula", "-config", str(path)))
        time.sleep(1)
        return Setup(addresses[0], addresses[1], processes)


def end_addresses(hosts: Sequence[Namespace], device: str) -> tuple[str, str]:
    """Wait until the device of both ends has a global IPv6 address, and return these."""
    found = []
    for host in (hosts[0], hosts[-1]):
        addresses: list[str] = []

        def look(host: Namespace = host, addresses: list[str] = addresses) -> bool:
            try:
                output = host.run("ip", "-6", "-o", "address", "show", "dev", device, "scope", "global")
            except LabError:
                return False
            addresses += re.findall(r"inet6 ([0-9a-f:]+)/", output)
            return bool(addresses)

        wait_until(look, 15, f"an address on {device} of {host.label}")
        found.append(addresses[0])
    return found[0], found[1]


ALL: tuple[Program, ...] = (
    BareVeth(),
    OurDaemon("pineconed"),
    OurDaemon("pineconed over tls", "tls"),
    OurDaemon("pineconed over ws", "ws"),
    OurDaemon("pineconed, MTU 1280", configuration="[tun]\nmtu = 1280\n"),
    OurDaemon("pineconed, MTU 1280, no offload", configuration="[tun]\nmtu = 1280\noffload = false\n"),
    Reference(),
    Yggdrasil(),
    WireGuard(),
    Nebula(),
    Mycelium(),
)
