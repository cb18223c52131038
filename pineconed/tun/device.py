# SPDX-License-Identifier: Apache-2.0
"""A TUN device: IPv6 packets in and out of the kernel, never blocking.

python-pytun opens and names the device; packets go through its descriptor, which costs less per packet than
its own methods: by a `PlainChannel`, or by an `OffloadChannel` where that is wanted and the kernel takes
part. The device is not persistent: the kernel removes it, with its address and route, when the descriptor is
closed or the process dies.
"""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytun

from pineconed.overlay.session.plaintext import Delivery
from pineconed.overlay.session.waiting import Outgoing
from pineconed.tun.drops import TunDrop
from pineconed.tun.errors import TunError
from pineconed.tun.offload import OffloadChannel, enable
from pineconed.tun.plain import PlainChannel

AUTO = "auto"
"""The name that lets the kernel choose: the first free one of pine0, pine1, ..."""

CLONE_DEVICE = "/dev/net/tun"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")


class TunDevice:
    """An open TUN device without an address, down.

    `drops` counts packets that got lost here. `features` says which super-packets and whether partial
    packets are read and written (bits of `Offer.features`): none without `offload`, or if the kernel refuses.
    TunError when the name is no name or taken, the kernel has no TUN, or permission is missing.
    """

    def __init__(self, name: str, clone_device: str = CLONE_DEVICE, *, offload: bool = False) -> None:
        if name != AUTO and (not _NAME.fullmatch(name) or name in {".", ".."}):
            raise TunError(
                f"{name!r} is no interface name", "take 1 to 15 letters, digits, '-', '_' and '.', or auto"
            )
        wanted = "pine%d" if name == AUTO else name
        self.drops: Counter[TunDrop] = Counter()
        self._channel: PlainChannel | OffloadChannel
        try:
            opened = _open_offloaded(wanted, clone_device) if offload else None
            if opened is not None:
                self._device, features = opened
                self._channel = OffloadChannel(self._device.fileno(), self.drops, features)
            else:
                self._device = _open(wanted, clone_device)
                self._channel = PlainChannel(self._device.fileno(), self.drops)
        except pytun.Error as error:
            raise _explained(name, clone_device, error) from error
        self._fd: int = self._device.fileno()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)
        self.name: str = self._device.name
        self.features = self._channel.features

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._fd

    def read_packets(self, max_bytes: int) -> list[Outgoing]:
        """Packets that wait in the device: until it is dry, `max_bytes` are reached or 256 are read.

        OSError when the device was deleted under us.
        """
        return self._channel.read(max_bytes)

    def write(self, packets: Iterable[Delivery]) -> None:
        """Give packets to the kernel; those that it does not take are dropped and counted."""
        self._channel.write(packets)

    def close(self) -> None:
        """Close the device; the interface is gone after this. Closing twice does nothing."""
        self._device.close()


def _open(name: str, clone_device: str, extra_flags: int = 0) -> Any:
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_TUN_EXCL | extra_flags
    return pytun.TunTapDevice(name=name, flags=flags, dev=clone_device)


def _open_offloaded(name: str, clone_device: str) -> tuple[Any, int] | None:
    """A device with segmentation offload, and its features; None if this kernel has no such thing."""
    try:
        device = _open(name, clone_device, pytun.IFF_VNET_HDR)
    except pytun.Error as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    try:
        return device, enable(device.fileno())
    except OSError:
        device.close()
        return None


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
