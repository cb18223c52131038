# SPDX-License-Identifier: Apache-2.0
"""The TUN device: names, packets, and what stands in the way of having one."""

import errno
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import cast

import pytest

from pineconed.tun import device as device_module
from pineconed.tun.device import AUTO, TunDevice
from pineconed.tun.drops import TunDrop
from pineconed.tun.errors import TunError
from pineconed.tun.plain import MAX_PACKETS
from tests.unit.tun.namespace import in_new_namespace, ip

HERE = "fd00:db8::1"
THERE = "fd00:db8::2"


def bring_up(device: TunDevice) -> None:
    ip("link", "set", device.name, "mtu", "65000", "addrgenmode", "none", "up")
    ip("-6", "addr", "add", f"{HERE}/64", "dev", device.name, "nodad")


def packet(payload: bytes, source: str, destination: str, next_header: int = 59) -> bytes:
    """An IPv6 packet without any upper layer (59) or with the given one."""
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    return b"\x60\0\0\0" + len(payload).to_bytes(2) + bytes([next_header, 64]) + addresses + payload


def wait_for_packets(device: TunDevice, count: int, max_bytes: int = 1 << 20) -> list[bytes]:
    """Read until this many packets that are no multicast are there."""
    packets: list[bytes] = []
    end = time.monotonic() + 5
    while len(packets) < count and time.monotonic() < end:
        read = cast("list[bytes]", device.read_packets(max_bytes))
        packets += [one for one in read if one[24] != 0xFF]
        time.sleep(0.001)
    return packets


@pytest.mark.netns
def test_a_device_has_its_name_and_goes_with_its_descriptor() -> None:
    def check() -> None:
        device = TunDevice("pine-test")
        assert device.name == "pine-test"
        assert "pine-test" in ip("link")
        assert not os.get_blocking(device.fileno())
        assert not os.get_inheritable(device.fileno())
        device.close()
        device.close()
        assert "pine-test" not in ip("link")

    in_new_namespace(check)


@pytest.mark.netns
def test_the_kernel_chooses_a_name_on_auto() -> None:
    def check() -> None:
        devices = [TunDevice(AUTO), TunDevice(AUTO)]
        assert [device.name for device in devices] == ["pine0", "pine1"]
        for device in devices:
            device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_packets_of_the_host_are_read_whole() -> None:
    def check() -> None:
        device = TunDevice(AUTO)
        bring_up(device)
        device.read_packets(1000)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            for size in (1, 1000, 60000):
                sender.sendto(bytes(size), (THERE, 9))
        packets = wait_for_packets(device, 3)
        assert [len(one) for one in packets] == [40 + 8 + size for size in (1, 1000, 60000)]
        assert packets[0][8:40] == packet(b"", HERE, THERE)[8:40]
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_a_drain_ends_at_its_bounds() -> None:
    def check() -> None:
        device = TunDevice(AUTO)
        bring_up(device)
        device.read_packets(1 << 20)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            for _ in range(MAX_PACKETS + 10):
                sender.sendto(bytes(952), (THERE, 9))
        assert len(device.read_packets(2500)) == 3
        assert len(device.read_packets(1 << 30)) == MAX_PACKETS
        assert len(device.read_packets(1 << 30)) >= 7
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_packets_for_the_host_arrive_and_refused_ones_are_counted() -> None:
    def check() -> None:
        device = TunDevice(AUTO)
        device.write([packet(b"", THERE, HERE)])
        assert device.drops == {TunDrop.TUN_REFUSED: 1}
        bring_up(device)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
            receiver.bind((HERE, 9))
            receiver.settimeout(5)
            datagram = (7).to_bytes(2) + (9).to_bytes(2) + (12).to_bytes(2) + b"\0\0" + b"food"
            good = packet(_with_checksum(datagram, THERE, HERE), THERE, HERE, socket.IPPROTO_UDP)
            device.write([b"\0 is no IP version", memoryview(good)])
            assert receiver.recv(100) == b"food"
        assert device.drops == {TunDrop.TUN_REFUSED: 2}
        device.close()

    in_new_namespace(check)


def _with_checksum(datagram: bytes, source: str, destination: str) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    summed = addresses + len(datagram).to_bytes(4) + b"\0\0\0\x11" + datagram + b"\0" * (len(datagram) % 2)
    total = sum(int.from_bytes(summed[at : at + 2]) for at in range(0, len(summed), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return datagram[:6] + (0xFFFF - total).to_bytes(2) + datagram[8:]


@pytest.mark.netns
@pytest.mark.parametrize("offload", [False, True])
def test_a_deleted_device_is_an_error_and_not_silence(offload: bool) -> None:
    def check() -> None:
        device = TunDevice(AUTO, offload=offload)
        bring_up(device)
        ip("link", "del", device.name)
        with pytest.raises(OSError, match="bad state") as failure:
            device.read_packets(1000)
        assert failure.value.errno == errno.EBADFD
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_a_taken_name_is_refused_whoever_has_it() -> None:
    def check() -> None:
        device = TunDevice("pine0")
        ip("link", "add", "veth-test", "type", "veth", "peer", "name", "other")
        ip("tuntap", "add", "dev", "stale", "mode", "tun")
        for name in ("pine0", "veth-test", "stale", "lo"):
            with pytest.raises(TunError, match=f"already an interface named {name}; .* or auto"):
                TunDevice(name)
        device.close()

    in_new_namespace(check)


@pytest.mark.netns
def test_without_the_right_to_make_one_the_remedy_is_named() -> None:
    def check() -> None:
        script = """
            import os
            from pineconed.tun.device import TunDevice
            from pineconed.tun.errors import TunError
            os.setgid(65534)
            os.setuid(65534)
            try:
                TunDevice("pine0")
            except TunError as error:
                print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd=Path(__file__).parents[3],
        )
        everybodys = Path("/dev/net/tun").stat().st_mode & 0o002
        what = "create the TUN device pine0" if everybodys else "open /dev/net/tun"
        assert done.stdout.startswith(f"no permission to {what}; run as root, ")
        assert "--tun none" in done.stdout

    in_new_namespace(check)


def test_a_missing_clone_device_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "tun")
    with pytest.raises(TunError, match="missing; load the kernel module") as failure:
        TunDevice("pine0", missing)
    assert failure.value.problem == f"{missing} is missing"
    assert "--tun none" in failure.value.remedy


@pytest.mark.parametrize("name", ["", "a/b", "a b", "sixteen-letters-", ".", "..", "pine%d", "a:b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(TunError, match="is no interface name; take 1 to 15"):
        TunDevice(name)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENODEV, "no TUN devices; load"),
        (errno.ENXIO, "no TUN devices; load"),
        (errno.EACCES, "no permission to open /dev/net/tun; run as root, let everybody use it (chmod 0666"),
        (
            errno.EPERM,
            "no permission to create the TUN device pine0; run as root, give the process CAP_NET_ADMIN",
        ),
        (errno.EMFILE, "cannot create the TUN device pine0: Too many open files"),
    ],
)
def test_other_refusals_of_the_kernel(code: int, words: str) -> None:
    explained = device_module._explained("pine0", "/dev/net/tun", OSError(code, os.strerror(code)))
    assert words in str(explained)
