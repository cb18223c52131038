# SPDX-License-Identifier: Apache-2.0
"""Writes captures (pcap) of TCP connections and UDP datagrams between two hosts that there are not."""

import struct
from ipaddress import IPv4Address
from pathlib import Path

SUBJECT, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
SEGMENT_BYTES = 1000

_SYN, _ACK, _PUSH = 0x02, 0x10, 0x08
_TCP, _UDP = 6, 17
_ETHERNET = bytes(12) + b"\x08\x00"


class Capture:
    """Packets one after the other, a millisecond apart; `save` writes them."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []

    def add(self, source: IPv4Address, destination: IPv4Address, protocol: int, content: bytes) -> None:
        header = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(content),
            len(self._packets),
            0,
            64,
            protocol,
            0,
            source.packed,
            destination.packed,
        )
        self._packets.append(_ETHERNET + header + content)

    def datagram(self, port: int, content: bytes) -> None:
        """A UDP datagram from and to this port."""
        self.add(SUBJECT, OTHER, _UDP, struct.pack(">4H", port, port, 8 + len(content), 0) + content)

    def save(self, path: Path) -> None:
        """Write the capture."""
        blocks = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
        for number, packet in enumerate(self._packets):
            length = len(packet)
            blocks += [struct.pack("<IIII", number // 1000, number % 1000 * 1000, length, length), packet]
        path.write_bytes(b"".join(blocks))


class Connection:
    """A TCP connection from a port of the other host to one of the subject."""

    def __init__(self, capture: Capture, other_port: int, subject_port: int = 4444) -> None:
        self._capture = capture
        self._ports = {True: subject_port, False: other_port}
        self._next = {True: 1000, False: 2000}
        self._segment(False, _SYN, b"")
        self._segment(True, _SYN | _ACK, b"")
        self._segment(False, _ACK, b"")

    def send(self, by_subject: bool, data: bytes) -> None:
        """These bytes, in segments as they come."""
        for start in range(0, len(data), SEGMENT_BYTES):
            self._segment(by_subject, _ACK | _PUSH, data[start : start + SEGMENT_BYTES])

    def _segment(self, by_subject: bool, flags: int, data: bytes) -> None:
        header = struct.pack(
            ">HHIIBBHHH",
            self._ports[by_subject],
            self._ports[not by_subject],
            self._next[by_subject],
            self._next[not by_subject] if flags & _ACK else 0,
            0x50,
            flags,
            65535,
            0,
            0,
        )
        hosts = (SUBJECT, OTHER) if by_subject else (OTHER, SUBJECT)
        self._capture.add(*hosts, _TCP, header + data)
        self._next[by_subject] += len(data) + (1 if flags & _SYN else 0)
