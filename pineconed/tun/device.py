# SPDX-License-Identifier: Apache-2.0
"""A TUN device: whole IPv6 packets in and out of the kernel, never blocking.

python-pytun opens and names the device; packets go through `os.read` and `os.write` on its descriptor,
which costs less per packet than its own methods. The device is not persistent: the kernel removes it, with
its address and route, when the descriptor is closed or the process dies.
"""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytun

from pineconed.tun.errors import TunError

AUTO = "auto"
"""The name that lets the kernel choose: the first free one of pine0, pine1, ..."""

CLONE_DEVICE = "/dev/net/tun"
MAX_PACKET = 65536
"""More than any packet that the kernel can hand out (MTU 65535)."""

MAX_PACKETS = 256
"""Packets in one drain, so that a flood of small ones does not hold up the peerings."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")


class TunDevice:
    """An open TUN device without an address, down. `drops` counts packets that the kernel refused.

    TunError when the name is no name or taken, the kernel has no TUN, or permission is missing.
    """

    def __init__(self, name: str, clone_device: str = CLONE_DEVICE) -> None:
        if name != AUTO and (not _NAME.fullmatch(name) or name in {".", ".."}):
            raise TunError(
                f"{name!r} is no interface name", "take 1 to 15 letters, digits, '-', '_' and '.', or auto"
            )
        wanted = "pine%d" if name == AUTO else name
        flags = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_TUN_EXCL
        try:
            self._device = pytun.TunTapDevice(name=wanted, flags=flags, dev=clone_device)
        except pytun.Error as error:
            raise _explained(name, clone_device, error) from error
        self._fd: int = self._device.fileno()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)
        self.name: str = self._device.name
        self.drops: Counter[str] = Counter()

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._fd

    def read_packets(self, max_bytes: int) -> list[bytes]:
        """Packets that wait in the device: until it is dry, `max_bytes` are reached or 256 are read.

        OSError when the device was deleted under us.
        """
        fd, read, size = self._fd, os.read, 0
        packets: list[bytes] = []
        try:
            while size < max_bytes and len(packets) < MAX_PACKETS:
                packet = read(fd, MAX_PACKET)
                packets.append(packet)
                size += len(packet)
        except BlockingIOError:
            pass
        return packets

    def write(self, packets: Iterable[bytes | bytearray | memoryview]) -> None:
        """Give packets to the kernel; those that it does not take are dropped and counted."""
        fd, write = self._fd, os.write
        for packet in packets:
            try:
                write(fd, packet)
            except OSError as error:
                self.drops[errno.errorcode.get(error.errno or 0, "unknown").lower()] += 1

    def close(self) -> None:
        """Close the device; the interface is gone after this. Closing twice does nothing."""
        self._device.close()


def _explained(name: str, clone_device: str, error: OSError) -> TunError:
    """What an errno of opening a TUN device means to the operator."""
    load = "load the kernel module (modprobe tun) or run with --tun none"
    if error.errno == errno.ENOENT and not Path(clone_device).exists():
        return TunError(f"{clone_device} is missing", load)
    if error.errno in {errno.ENODEV, errno.ENXIO}:
        return TunError("this kernel has no TUN devices", load)
    if error.errno == errno.EACCES:
        return TunError(
            f"no permission to open {clone_device}",
            f"run as root, let everybody use it (chmod 0666 {clone_device} is usual), or run with --tun none",
        )
    if error.errno == errno.EPERM:
        return TunError(
            f"no permission to create the TUN device {name}",
            "run as root, give the process CAP_NET_ADMIN, or run with --tun none",
        )
    if error.errno in {errno.EBUSY, errno.EEXIST}:
        return TunError(
            f"there is already an interface named {name}",
            "stop what made it (ip link show), or choose another name or auto",
        )
    return TunError(
        f"cannot create the TUN device {name}: {error.strerror}", "run with --tun none to go without"
    )
