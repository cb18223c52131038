# SPDX-License-Identifier: Apache-2.0
"""One Ethernet segment with hosts that find each other by multicast, and what is sent to trouble them."""

import socket
import struct
from collections.abc import Sequence

from tests.network.lab import Lab, Namespace, run

GROUP4, GROUP6, GROUP_PORT = "224.0.0.114", "ff02::114", 60606
NETWORK = "10.9.0"
"""The IPv4 network of a segment; the first host has .1, the second .2 and so on."""


def plug(
    lab: Lab, hosts: Sequence[Namespace], versions: str = "46", device: str = "eth0", network: str = NETWORK
) -> Namespace:
    """Join hosts by a bridge with IPv4, with link-local IPv6, or with both; returns the bridge's namespace.

    The hosts have a route to the IPv4 group, because the reference sends no beacons without.
    """
    middle = lab.host("bridge")
    middle.run("ip", "link", "add", "br0", "type", "bridge")
    middle.run("ip", "link", "set", "br0", "up")
    for number, host in enumerate(hosts, 1):
        port = f"p{number}"
        pair = ["ip", "link", "add", device, "netns", host.name, "type", "veth"]
        run([*pair, "peer", port, "netns", middle.name])
        middle.run("ip", "link", "set", port, "master", "br0", "up")
        if "6" not in versions:
            host.run("ip", "link", "set", device, "addrgenmode", "none")
        if "4" in versions:
            host.run("ip", "address", "add", f"{network}.{number}/24", "dev", device)
        host.run("ip", "link", "set", device, "up")
        if "4" in versions:
            host.run("ip", "route", "append", "224.0.0.0/4", "dev", device)
    return middle


def beacon(key: bytes, port: int) -> bytes:
    """A beacon as section 8 of the protocol has it."""
    return key + struct.pack(">H", port)


class Beaconer:
    """Sends whatever it is told to the IPv4 group, from a host's own address or in somebody else's name."""

    def __init__(self, host: Namespace, address: str) -> None:
        self._plain = host.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._plain.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        self._raw = host.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        self._raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)

    def close(self) -> None:
        self._plain.close()
        self._raw.close()

    def send(self, datagram: bytes) -> None:
        self._plain.sendto(datagram, (GROUP4, GROUP_PORT))

    def send_as(self, source: str, datagram: bytes) -> None:
        """Forge the source address; the kernel fills in lengths and the header's checksum."""
        udp = struct.pack(">HHHH", GROUP_PORT, GROUP_PORT, 8 + len(datagram), 0) + datagram
        ends = socket.inet_aton(source) + socket.inet_aton(GROUP4)
        header = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 1, socket.IPPROTO_UDP, 0) + ends
        self._raw.sendto(header + udp, (GROUP4, 0))
