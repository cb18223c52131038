# SPDX-License-Identifier: Apache-2.0
"""Bluetooth with the daemon's streams, and its rules about peers."""

from collections.abc import Callable

from pineconed.daemon.config import BleSection
from pineconed.daemon.inbound import Reception
from pineconed.daemon.settings import ble_settings
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.ble.backend import Backend, Channel
from pineconed.transport.ble.bluetooth import Bluetooth
from pineconed.transport.ble.choose import open_backend
from pineconed.transport.ble.policy import BlePolicy, Dial
from pineconed.transport.ble.stream import BleStream

ZONE = "ble"
"""The zone of all Bluetooth peerings (protocol section 12)."""

SOURCE = "bluetooth"
"""What the log's limits count by: devices choose their addresses as they like, so one source for all."""


class Ble:
    """Bluetooth, switched off at first. `opener` makes backends; tests pass their own."""

    def __init__(self, reception: Reception, opener: Callable[[str], Backend] = open_backend) -> None:
        self._reception = reception
        own_key = reception.node.public_key
        policy = BlePolicy(own_key, reception.node.prefix_objection)
        self.bluetooth = Bluetooth(policy, own_key, opener, self, reception.events, reception.clock)
        reception.driver.subscribe(self.bluetooth.handle_event)

    async def apply(self, section: BleSection) -> None:
        """Do what the configuration says from now on; may be called again when that changes."""
        await self.bluetooth.apply(ble_settings(section))

    async def close(self) -> None:
        """Find nobody any more, be found by nobody, and end the peerings."""
        await self.bluetooth.close()

    # ---------------------------------------------------------------- what Bluetooth has done here

    def attach(self, channel: Channel, dial: Dial | None) -> int:
        """See `Linker`."""
        stream = BleStream(channel)
        options = LinkOptions(
            PeerType.BLUETOOTH,
            ZONE,
            f"ble://{channel.remote}",
            Direction.OUTBOUND if dial else Direction.INBOUND,
            key_prefix=dial.prefix if dial else b"",
        )
        link = self._reception.driver.attach(stream, options)
        self._reception.events.opened(link, stream.remote, SOURCE, options)
        return link

    def close_link(self, link: int, reason: str) -> None:
        """See `Driver.detach`."""
        self._reception.driver.detach(link, reason)
