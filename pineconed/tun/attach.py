# SPDX-License-Identifier: Apache-2.0
"""Opens and configures the TUN device in one step, away from the event loop's thread."""

import asyncio

from pineconed.tun import netlink
from pineconed.tun.device import TunDevice


async def open_tun(name: str, address: bytes, mtu: int, *, route: bool) -> TunDevice:
    """A device that is up, with its address (16 bytes), MTU and route. TunError tells what is in the way.

    `name` may be `auto`. The caller closes the device; nothing is left behind when this fails.
    """
    device = TunDevice(name)
    try:
        await asyncio.to_thread(netlink.configure, device.name, address, mtu, route=route)
    except BaseException:
        device.close()
        raise
    return device


async def foreign_unique_locals(name: str) -> list[str]:
    """See `pineconed.tun.netlink.foreign_unique_locals`."""
    return await asyncio.to_thread(netlink.foreign_unique_locals, name)
