# SPDX-License-Identifier: Apache-2.0
"""Opens and configures the TUN device in one step, away from the event loop's thread."""

import asyncio

from pineconed.tun import netlink
from pineconed.tun.device import TunDevice
from pineconed.tun.offload import GSO_MAX_SIZE


async def open_tun(name: str, address: bytes, mtu: int, *, route: bool, offload: bool = False) -> TunDevice:
    """A device that is up, with its address (16 bytes), MTU and route, if possible with segmentation offload.

    TunError tells what is in the way. `name` may be `auto`. The caller closes the device; nothing is left
    behind when this fails.
    """
    device = TunDevice(name, offload=offload)
    try:
        gso_max_size = GSO_MAX_SIZE if device.features else None
        await asyncio.to_thread(
            netlink.configure, device.name, address, mtu, route=route, gso_max_size=gso_max_size
        )
    except BaseException:
        device.close()
        raise
    return device


async def foreign_unique_locals(name: str) -> list[str]:
    """See `pineconed.tun.netlink.foreign_unique_locals`."""
    return await asyncio.to_thread(netlink.foreign_unique_locals, name)
