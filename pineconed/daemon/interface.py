# SPDX-License-Identifier: Apache-2.0
"""The interface through which this host uses the overlay: opened, and what an operator is told of it."""

from dataclasses import dataclass

import structlog

from pineconed.daemon.config import TunSection
from pineconed.daemon.errors import StartError
from pineconed.overlay.session.party import FEATURE_UDP
from pineconed.tun.device import TunDevice
from pineconed.tun.errors import TunError
from pineconed.tun.inbound import InboundWatch

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Interface:
    """The open TUN device, and whether traffic that comes in by it is filtered."""

    device: TunDevice
    guard: InboundWatch

    async def tell_inbound(self) -> None:
        """Log whether the overlay reaches the services of this machine."""
        found = await self.guard.inbound()
        log = _log.info if found.state == "filtered" else _log.warning
        log("inbound traffic", interface=self.device.name, state=found.state, detail=found.explanation)


async def open_interface(wanted: TunSection, address: bytes) -> Interface:
    """The interface with this overlay address (16 bytes). StartError when it cannot be had."""
    from pineconed.tun.attach import foreign_unique_locals, open_tun  # noqa: PLC0415 (pyroute2: 0.2 s)
    from pineconed.tun.nftables import look  # noqa: PLC0415

    try:
        device = await open_tun(wanted.name, address, wanted.mtu, route=wanted.route, offload=wanted.offload)
        try:
            neighbours = await foreign_unique_locals(device.name) if wanted.route else []
        except BaseException:
            device.close()
            raise
    except TunError as error:
        raise StartError(str(error)) from error
    _warn_of_neighbours(neighbours)
    if wanted.offload:
        _tell_offload(device.features)
    return Interface(device, InboundWatch(device.name, look))


def _warn_of_neighbours(neighbours: list[str]) -> None:
    for neighbour in neighbours:
        _log.warning(
            "this host uses fd00::/8 for something else too",
            found=neighbour,
            remedy="if that gets mixed up, set tun.route = false and add the routes that you want",
        )


def _tell_offload(features: int) -> None:
    if not features:
        _log.info("this kernel has no segmentation offload for TUN devices: small MTUs cost more")
    elif not features & FEATURE_UDP:
        _log.debug("this kernel has no segmentation offload for UDP; those from 6.2 on have it")
