# SPDX-License-Identifier: Apache-2.0
"""Radios without a radio: controllers of Bumble on one link, which can be cut, unplugged and plugged in."""

import asyncio
from typing import Any

from bumble import hci
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, Transport

SUPERVISION = 0.3
"""Seconds after which controllers notice that nothing comes through; real ones take some."""


class Radio(LocalLink):
    """The air between all controllers of a test."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_cut = False
        self.plugged: dict[str, Stick] = {}

    async def open(self, spec: str) -> Transport:
        """As `bumble.transport.open_transport`, for `BumbleBackend`."""
        stick = self.plugged.get(spec)
        if stick is None:
            raise OSError("no such device")
        return stick.transport()

    def plug_in(self, spec: str) -> "Stick":
        stick = self.plugged[spec] = Stick(self, spec, len(self.plugged) + 1)
        return stick

    # The source of what a controller sends is the address that its connection has, not always its random one.
    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        if self.is_cut:
            return
        receiver = self.find_le_controller(destination_address)
        sender = sender_controller.le_connections.get(destination_address)
        if receiver is not None and sender is not None:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, sender.self_address, transport, data
            )

    def send_advertising_pdu(self, sender_controller: Controller, packet: Any) -> None:
        if not self.is_cut and sender_controller in self.controllers:
            super().send_advertising_pdu(sender_controller, packet)

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: Any
    ) -> None:
        if not self.is_cut and self.find_le_controller(receiver_address):
            super().send_ll_control_pdu(sender_address, receiver_address, packet)

    async def cut(self) -> None:
        """Nothing comes through from now on; connections end a moment later."""
        self.is_cut = True
        await asyncio.sleep(SUPERVISION)
        for controller in self.controllers:
            for connection in list(controller.le_connections.values()):
                controller.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def mend(self) -> None:
        self.is_cut = False


class Chip(Controller):
    """A controller that can stop connecting, and that has one connection to another, as real ones do."""

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        if self.pending_le_connection is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self._fail_to_connect(hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def create_le_connection(self, peer_address: hci.Address) -> None:
        other = self.link.find_le_controller(peer_address)
        was_first = other is not None and self.random_address in other.le_connections
        if was_first and peer_address not in self.le_connections:
            return  # both begin at the same moment; that the other was first is heard next
        if peer_address in self.le_connections:
            self._fail_to_connect(hci.HCI_ErrorCode.CONNECTION_ALREADY_EXISTS_ERROR)
        else:
            super().create_le_connection(peer_address)

    def _fail_to_connect(self, status: int) -> None:
        self.pending_le_connection = None
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=status,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=0,
                peer_address=hci.Address.ANY,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )


class Stick:
    """A controller as something that is plugged in."""

    def __init__(self, radio: Radio, spec: str, number: int) -> None:
        self._radio = radio
        self.spec = spec
        address = hci.Address(f"00:00:5E:00:53:{number:02X}", hci.Address.PUBLIC_DEVICE_ADDRESS)
        self.controller = Chip(spec, link=radio, public_address=address)
        self.controller.le_acl_data_packet_length = 251
        self.terminated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sink: Any = None

    def transport(self) -> Transport:
        return Transport(self, AsyncPipeSink(self.controller))

    def set_packet_sink(self, sink: Any) -> None:
        self.controller.set_packet_sink(sink)

    def close(self) -> None:
        """As a transport's source."""

    def unplug(self) -> None:
        del self._radio.plugged[self.spec]
        for connection in list(self.controller.le_connections.values()):
            self.controller.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            other = self._radio.find_le_controller(connection.peer_address)
            for theirs in list(other.le_connections.values()) if other else ():
                if other is not None and theirs.peer_address == connection.self_address:
                    other.on_le_disconnected(theirs, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        self._radio.remove_controller(self.controller)
        self.terminated.set_result(None)
