# SPDX-License-Identifier: Apache-2.0
"""This host's traffic: IPv6 packets from the TUN device into frames, and from frames to the TUN device.

For now a packet is the payload of its frame as it is, as the reference's `pineconeip` has it (protocol
section 11). The flow: `outbound` takes what the host sends, gives each packet to the forwarder, and answers
what cannot be sent with an ICMPv6 error, as a router would; `inbound` takes what the forwarder delivered and
lets through only packets from the address of the node that the frame names to our own; `take_local` hands
both kinds to the TUN device.
"""

from enum import StrEnum

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.overlay.address import (
    OVERLAY_BYTE,
    OVERLAY_PREFIX,
    address_of,
)
from pineconed.overlay.flow import FlowHash
from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH, Unreachable, packet_too_big, unreachable
from pineconed.rate import TokenBucket
from pineconed.wire.buffer import Buffer
from pineconed.wire.keys import KEY_PADDING, KEY_PREFIX_LENGTH

ERROR_RATE = 100.0
"""ICMPv6 errors of one kind a second, and at once."""

_MULTICAST_BYTE = 0xFF


class EndpointDrop(StrEnum):
    """Why a packet of or for this host went no further; the value is the name that operators see."""

    OUT_MALFORMED = "out_malformed"
    """From the TUN device: not IPv6, or not as long as its header says."""
    OUT_FOREIGN_SOURCE = "out_foreign_source"
    """The source is not our address."""
    OUT_MULTICAST = "out_multicast"
    OUT_NOT_OVERLAY = "out_not_overlay"
    """The destination is outside fd00::/8."""
    OUT_TO_SELF = "out_to_self"
    """The destination is our own address, which the kernel should have kept to itself."""
    OUT_NO_ROUTE = "out_no_route"
    OUT_TOO_BIG = "out_too_big"
    IN_MALFORMED = "in_malformed"
    """From a frame: not IPv6, or not as long as its header says."""
    IN_FOREIGN_SOURCE = "in_foreign_source"
    """The source is not the address of the node that the frame names as its source."""
    IN_FOREIGN_DESTINATION = "in_foreign_destination"
    """The destination is not our address."""


class Endpoint:
    """One end of the traffic. `mtu` is that of the TUN device, in bytes; `flow_key` is secret and random."""

    def __init__(self, own_key: bytes, forwarder: Forwarder, flow_key: bytes, mtu: int) -> None:
        self._address = address_of(own_key)
        self._forwarder = forwarder
        self._flows = FlowHash(flow_key)
        self._mtu = mtu
        self._local: list[Buffer] = []
        self._drops = dict.fromkeys(EndpointDrop, 0)
        self._no_route_errors = TokenBucket(ERROR_RATE, ERROR_RATE)
        self._too_big_errors = TokenBucket(ERROR_RATE, ERROR_RATE)

    def outbound(self, packets: list[bytes], now: Now) -> None:
        """Send what the TUN device gave, in order. A packet that cannot be sent is dropped and counted.

        The packets are not copied: they must not change afterwards.
        """
        seconds, mtu, drops = now.seconds, self._mtu, self._drops
        flow_of, send, queued = self._flows.of, self._forwarder.send, SendResult.QUEUED
        own_address = self._address
        own_prefix = own_address[1:]
        for packet in packets:
            length = len(packet)
            if (
                length < IPV6_HEADER_LENGTH
                or packet[0] >> 4 != 6
                or length - IPV6_HEADER_LENGTH != packet[4] << 8 | packet[5]
            ):
                drops[EndpointDrop.OUT_MALFORMED] += 1
                continue
            key_prefix = packet[25:40]
            if packet[24] != OVERLAY_BYTE or packet[8:24] != own_address or key_prefix == own_prefix:
                self._refuse(packet, seconds)
            elif length > mtu:
                self._answer_too_big(packet, seconds)
            else:
                flow, extra = flow_of(packet)
                result = send(key_prefix + KEY_PADDING, None, packet, flow, extra, seconds)
                if result is not queued:
                    self._answer(packet, result, seconds)

    def inbound(self, source_key: bytes, payload: Buffer) -> None:
        """Take the payload of a frame for this host whose header names `source_key`; it is not copied."""
        length = len(payload)
        if (
            length < IPV6_HEADER_LENGTH
            or payload[0] >> 4 != 6
            or length - IPV6_HEADER_LENGTH != payload[4] << 8 | payload[5]
        ):
            self._drops[EndpointDrop.IN_MALFORMED] += 1
        elif bytes(payload[8:40]) == OVERLAY_PREFIX + source_key[:KEY_PREFIX_LENGTH] + self._address:
            self._local.append(payload)
        elif bytes(payload[8:24]) != address_of(source_key):
            self._drops[EndpointDrop.IN_FOREIGN_SOURCE] += 1
        else:
            self._drops[EndpointDrop.IN_FOREIGN_DESTINATION] += 1

    def take_local(self) -> list[Buffer]:
        """IPv6 packets for the TUN device; those that came in frames are views into what was received."""
        local, self._local = self._local, []
        return local

    def drops(self) -> dict[str, int]:
        """Dropped packets since the start, every cause named."""
        return {cause.value: count for cause, count in self._drops.items()}

    # Packets that are not sent

    def _refuse(self, packet: bytes, seconds: float) -> None:
        """A packet that is not from us to another node of the overlay."""
        if packet[24] == _MULTICAST_BYTE:
            self._drops[EndpointDrop.OUT_MULTICAST] += 1
        elif packet[8:24] != self._address:
            self._drops[EndpointDrop.OUT_FOREIGN_SOURCE] += 1
        elif packet[24] != OVERLAY_BYTE:
            self._drops[EndpointDrop.OUT_NOT_OVERLAY] += 1
            self._answer_no_route(packet, seconds)
        else:
            self._drops[EndpointDrop.OUT_TO_SELF] += 1

    def _answer(self, packet: bytes, result: SendResult, seconds: float) -> None:
        """The forwarder did not take a packet."""
        if result is SendResult.TOO_BIG:
            self._answer_too_big(packet, seconds)
        else:
            self._drops[EndpointDrop.OUT_NO_ROUTE] += 1
            self._answer_no_route(packet, seconds)

    def _answer_too_big(self, packet: bytes, seconds: float) -> None:
        self._drops[EndpointDrop.OUT_TOO_BIG] += 1
        if not self._too_big_errors.spend(1, seconds):
            mtu = min(self._mtu, self._forwarder.payload_limit())
            self._give_back(packet_too_big(packet, self._address, mtu))

    def _answer_no_route(self, packet: bytes, seconds: float) -> None:
        if not self._no_route_errors.spend(1, seconds):
            self._give_back(unreachable(packet, self._address, Unreachable.NO_ROUTE))

    def _give_back(self, error: bytes | None) -> None:
        if error is not None:
            self._local.append(error)
