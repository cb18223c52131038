# SPDX-License-Identifier: Apache-2.0
"""Segmentation offload: what the kernel is told and tells, and real TCP and UDP through such a device."""

import errno
import fcntl
import hashlib
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
import pytun

from pineconed.overlay.checksum import checksum
from pineconed.overlay.partial import PARTIAL, complete
from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.segmentation import cut
from pineconed.overlay.session.super_packet import SuperKind, SuperPacket, check_super_packet
from pineconed.overlay.session.waiting import Outgoing
from pineconed.tun import device as device_module
from pineconed.tun.device import AUTO, TunDevice
from pineconed.tun.drops import TunDrop
from pineconed.tun.offload import GSO_MAX_SIZE, OffloadChannel
from pineconed.tun.plain import MAX_PACKETS
from tests.unit.overlay.packets import OWN, PEER, TCP, UDP, ipv6, partial, ports
from tests.unit.tun.namespace import in_new_namespace, ip

HERE = "fd00:db8::1"
THERE = "fd00:db8::2"
PORT = 9
UDP_SEGMENT = 103
IPV6_DSTOPTS = 59
PADDING_OPTIONS = bytes((0, 0, 1, 4, 0, 0, 0, 0))
PLAIN = bytes(10)


def header(flags: int, gso: int, length: int, size: int, start: int, offset: int) -> bytes:
    """A `virtio_net_hdr`, as the kernel's headers define it."""
    return struct.pack("=BBHHHH", flags, gso, length, size, start, offset)


# ---------------------------------------------------------------- without a kernel


class Kernel:
    """The other end of a descriptor that keeps packets apart."""

    def __init__(self, features: int = 7) -> None:
        self._kernel, self._device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._device.setblocking(False)
        self._kernel.setblocking(False)
        self.drops: Counter[TunDrop] = Counter()
        self.channel = OffloadChannel(self._device.fileno(), self.drops, features)

    def gives(self, *packets: bytes) -> list[Outgoing]:
        """What the channel reads when the kernel gives these."""
        for packet in packets:
            self._kernel.send(packet)
        return self.channel.read(1 << 20)

    def gets(self, *packets: Delivery) -> list[bytes]:
        """What the kernel reads when the channel writes these."""
        self.channel.write(packets)
        return [self._kernel.recv(1 << 17) for _ in packets]

    def close(self) -> None:
        self._kernel.close()
        self._device.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def tcp_run(size: int, payload: bytes, flags: int = 0x10) -> SuperPacket:
    head = ports(1, 2, bytes(8) + b"\x50" + bytes([flags]) + bytes(6))
    packet = partial(ipv6(OWN, PEER, head + payload, TCP))
    return SuperPacket(SuperKind.TCP, size, 60, b"\x60" + packet[1:])


def datagrams(size: int, payload: bytes) -> SuperPacket:
    packet = partial(ipv6(OWN, PEER, ports(1, 2, struct.pack(">HH", 8 + len(payload), 0) + payload), UDP))
    return SuperPacket(SuperKind.UDP, size, 48, b"\x60" + packet[1:])


def test_plain_packets_have_an_empty_header(kernel: Kernel) -> None:
    small, large = ipv6(OWN, PEER, bytes(10)), ipv6(OWN, PEER, bytes(60000))
    assert kernel.gives(PLAIN + small, PLAIN + large) == [small, large]
    assert kernel.gets(small, memoryview(large)) == [PLAIN + small, PLAIN + large]
    assert kernel.gives() == []


def test_a_drain_ends_at_its_bounds(kernel: Kernel) -> None:
    packet = ipv6(OWN, PEER, bytes(10))
    assert len(kernel.gives(*[PLAIN + packet] * 100)) == 100
    for _ in range(2):
        kernel._kernel.send(PLAIN + packet)
    assert len(kernel.channel.read(1)) == 1
    assert MAX_PACKETS == 256


@pytest.mark.parametrize(("protocol", "offset"), [(TCP, 16), (UDP, 6)])
def test_partial_packets_are_marked_on_the_way_in_and_out(kernel: Kernel, protocol: int, offset: int) -> None:
    packet = partial(ipv6(OWN, PEER, bytes(range(30)), protocol))
    traffic_class = bytes([packet[0] | 0x0A]) + packet[1:]
    given = header(1, 0, 0, 0, 40, offset) + b"\x6a" + packet[1:]
    assert kernel.gives(given) == [traffic_class]
    assert kernel.gets(traffic_class, memoryview(traffic_class)) == [given, given]


@pytest.mark.parametrize(("flags", "ecn"), [(0x18, 0), (0x98, 0x80)])
def test_super_packets_keep_their_values(kernel: Kernel, flags: int, ecn: int) -> None:
    run, several = tcp_run(100, bytes(1000), flags), datagrams(100, bytes(1000))
    given = [header(1, 4 | ecn, 60, 100, 40, 16) + run.packet, header(1, 5, 48, 100, 40, 6) + several.packet]
    assert kernel.gives(*given) == [run, several]
    assert kernel.gets(run, several) == given


def test_the_length_of_headers_is_read_from_the_packet(kernel: Kernel) -> None:
    """In the kernel's header it is only a hint."""
    run = tcp_run(100, bytes(1000))
    assert kernel.gives(header(1, 4, 0, 100, 40, 16) + run.packet) == [run]
    assert kernel.gives(header(1, 4, 900, 100, 40, 16) + run.packet) == [run]


def test_checksums_in_other_places_are_completed(kernel: Kernel) -> None:
    """Here behind destination options."""
    body = bytes(range(6)) + b"\0\0" + b"data"
    pseudo_sum = 0x1234
    packet = ipv6(OWN, PEER, b"\x11" + PADDING_OPTIONS[1:] + body[:6] + pseudo_sum.to_bytes(2) + body[8:], 60)
    [done] = kernel.gives(header(1, 0, 0, 0, 48, 6) + packet)
    assert isinstance(done, bytes)
    assert (done[:54], done[56:]) == (packet[:54], packet[56:])
    words = struct.unpack(">6H", packet[48:])
    assert (sum(words) + int.from_bytes(done[54:56])) % 0xFFFF == 0


def test_super_packets_with_extension_headers_are_cut(kernel: Kernel) -> None:
    run = tcp_run(100, bytes(range(250)))
    behind = run.packet[:4] + (len(run.packet) - 32).to_bytes(2) + b"\x3c" + run.packet[7:40]
    behind += b"\x06" + PADDING_OPTIONS[1:] + run.packet[40:]
    cut_off = kernel.gives(header(1, 4, 68, 100, 48, 16) + behind)
    plain = [complete(segment) for segment in cut(run)]
    assert [segment[48:] for segment in cut_off] == [segment[40:] for segment in plain]
    for segment in cut_off:
        assert isinstance(segment, bytes)
        assert segment[6] == 60
        assert int.from_bytes(segment[4:6]) == len(segment) - 40
        assert checksum(segment[8:40], TCP, segment[48:]) == 0xFFFF


@pytest.mark.parametrize(
    "given",
    [
        header(1, 4, 60, 0, 40, 16) + tcp_run(100, bytes(1000)).packet,
        header(1, 3, 60, 100, 40, 16) + tcp_run(100, bytes(1000)).packet,
        header(1, 4, 60, 100, 40, 16) + tcp_run(100, b"").packet[:59],
        header(1, 5, 48, 100, 40, 6) + datagrams(100, b"").packet[:47],
    ],
    ids=["no size", "unknown kind", "TCP cut off", "UDP cut off"],
)
def test_what_was_not_asked_for_is_dropped_and_counted(kernel: Kernel, given: bytes) -> None:
    assert kernel.gives(given) == []
    assert kernel.drops == {TunDrop.TUN_OFFLOAD_UNKNOWN: 1}


def test_ipv4_is_left_to_those_who_refuse_it(kernel: Kernel) -> None:
    packet = b"\x45" + bytes(59)
    assert kernel.gives(header(1, 0, 0, 0, 20, 16) + packet) == [packet]


# ---------------------------------------------------------------- kernels that have less


def refusing(*refused: int) -> Callable[..., int]:
    """An ioctl that does not know some bits of TUNSETOFFLOAD."""
    real = fcntl.ioctl

    def ioctl(descriptor: int, request: int, bits: int) -> int:
        if any(bits & one for one in refused):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return int(real(descriptor, request, bits))

    return ioctl


@pytest.mark.netns
@pytest.mark.parametrize(("refused", "features"), [((), 7), ((0x20, 0x40), 5), ((0x01,), 0)])
def test_features_are_what_the_kernel_takes(
    refused: Sequence[int], features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> None:
        monkeypatch.setattr(fcntl, "ioctl", refusing(*refused))
        device = TunDevice(AUTO, offload=True)
        assert device.features == features
        assert device.name == "pine0"
        device.write([ipv6(PEER, OWN)])
        assert device.drops == {TunDrop.TUN_REFUSED: 1}
        assert device.read_packets(1000) == []
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_without_such_headers_there_is_a_plain_device(monkeypatch: pytest.MonkeyPatch) -> None:
    real = device_module._open

    def without(name: str, clone_device: str, extra_flags: int = 0) -> object:
        if extra_flags:
            raise pytun.Error(errno.EINVAL, "Invalid argument")
        return real(name, clone_device, extra_flags)

    def check() -> None:
        monkeypatch.setattr(device_module, "_open", without)
        device = TunDevice(AUTO, offload=True)
        assert device.features == 0
        device.close()

    in_new_namespace(check)


# ---------------------------------------------------------------- with a kernel

Change = Callable[[Outgoing], Sequence[Outgoing]]


def whole(packet: Outgoing) -> Sequence[Outgoing]:
    return [packet]


def cut_up(packet: Outgoing) -> Sequence[Outgoing]:
    """As to a peer that takes partial packets only."""
    return cut(packet) if isinstance(packet, SuperPacket) else [packet]


def finished(packet: Outgoing) -> Sequence[Outgoing]:
    """As to a peer that takes nothing special."""
    return [complete(one) if one[0] >= PARTIAL else one for one in cut_up(packet) if isinstance(one, bytes)]


class Mirror:
    """Sends all that a device gives back into it, source and destination swapped: the checksums stay right.

    So a program at HERE that talks to THERE talks to another at HERE.
    """

    def __init__(self, device: TunDevice, change: Change) -> None:
        self.device, self.change = device, change
        self.seen: list[Outgoing] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.0005):
            for packet in self.device.read_packets(1 << 20):
                self.seen.append(packet)
                self.device.write([swapped(one) for one in self.change(packet)])

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def super_packets(self, kind: SuperKind) -> list[SuperPacket]:
        return [one for one in self.seen if isinstance(one, SuperPacket) and one.kind is kind]


def swapped(packet: Outgoing) -> Outgoing:
    if isinstance(packet, SuperPacket):
        data = packet.packet
        return packet._replace(packet=data[:8] + data[24:40] + data[8:24] + data[40:])
    return packet[:8] + packet[24:40] + packet[8:24] + packet[40:]


def mirrored(mtu: int, change: Change, check: Callable[[Mirror], None]) -> None:
    """Run the check in a network whose device is a mirror."""

    def in_there() -> None:
        device = TunDevice(AUTO, offload=True)
        ip("link", "set", device.name, "mtu", str(mtu), "addrgenmode", "none", "up")
        ip("link", "set", device.name, "gso_max_size", str(GSO_MAX_SIZE))
        ip("-6", "addr", "add", f"{HERE}/64", "dev", device.name, "nodad")
        with Mirror(device, change) as mirror:
            check(mirror)
        assert not device.drops
        assert errors() == {"TcpInCsumErrors": 0, "Udp6InCsumErrors": 0, "Udp6InErrors": 0}
        device.close()

    in_new_namespace(in_there)


def errors() -> dict[str, int]:
    """What the kernel of this thread's network has counted of broken packets."""
    counted = {}
    with open("/proc/thread-self/net/snmp") as file:  # noqa: PTH123 (short-lived)
        names, values = [line.split() for line in file if line.startswith("Tcp:")]
    counted["TcpInCsumErrors"] = int(values[names.index("InCsumErrors")])
    with open("/proc/thread-self/net/snmp6") as file:  # noqa: PTH123
        for line in file:
            name, value = line.split()
            if name in {"Udp6InCsumErrors", "Udp6InErrors"}:
                counted[name] = int(value)
    return counted


@pytest.mark.netns
@pytest.mark.parametrize("mtu", [1280, 1501, 65000])
@pytest.mark.parametrize("change", [whole, cut_up, finished])
@pytest.mark.parametrize("options", [b"", PADDING_OPTIONS], ids=["plain", "extension headers"])
def test_tcp_through_a_mirror(mtu: int, change: Change, options: bytes) -> None:
    data = random.Random(mtu).randbytes(3_000_001)

    def check(mirror: Mirror) -> None:
        with socket.socket(socket.AF_INET6) as listener, socket.socket(socket.AF_INET6) as client:
            listener.bind((HERE, PORT))
            listener.listen()
            client.settimeout(20)
            if options:
                client.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)
            client.connect((THERE, PORT))
            server, _ = listener.accept()
            with server:
                sender = threading.Thread(target=send_and_end, args=(client, data))
                sender.start()
                server.settimeout(20)
                received = b"".join(iter(lambda: server.recv(1 << 20), b""))
                sender.join(20)
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
        runs = mirror.super_packets(SuperKind.TCP)
        assert not (runs and options)
        for one in runs:
            check_super_packet(one)
            assert len(one.packet) <= GSO_MAX_SIZE
            assert one.header_length + one.segment_size <= mtu
        if mtu < 65000 and not options:
            assert max(len(one.packet) for one in runs) > 10_000

    mirrored(mtu, change, check)


def send_and_end(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.netns
@pytest.mark.parametrize("change", [whole, cut_up, finished])
@pytest.mark.parametrize("options", [b"", PADDING_OPTIONS], ids=["plain", "extension headers"])
def test_datagrams_through_a_mirror(change: Change, options: bytes) -> None:
    sizes = [(1000, 1000), (20_001, 1000), (120, 20), (1, 1), (1200, 0), (40_000, 0)]
    data = random.Random(1).randbytes(40_000)

    def check(mirror: Mirror) -> None:
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind((HERE, PORT))
            receiver.settimeout(10)
            if options:
                sender.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)
            for length, size in sizes:
                sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
                sender.sendto(data[:length], (THERE, PORT))
                step = size or length
                for at in range(0, length, step):
                    assert receiver.recv(1 << 16) == data[at : min(at + step, length)]
        assert len(mirror.super_packets(SuperKind.UDP)) == (0 if options else 2)

    mirrored(1280, change, check)
