# SPDX-License-Identifier: Apache-2.0
"""DATA with IPv6 packets back to back; what else it may hold are the messages of `control`."""

from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.partial import MIN_LENGTHS
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.super_packet import SuperPacket
from pineconed.wire.buffer import Buffer

MAX_BATCH = 60 << 10
"""Bytes of packets that one DATA carries at most, unless it is a single longer one."""

MAX_BLUETOOTH_BATCH = 8 << 10
"""The same where the first hop is Bluetooth: what is on its way there cannot be overtaken."""

_COPY_BELOW = 2048
"""Packets of a batch that are shorter than this are copied: measured, that costs less than a view."""

Delivery = Buffer | SuperPacket
"""What the TUN device gets."""


def read_batch(
    plaintext: Buffer, addresses: bytes, packets: list[Delivery], *, partial: bool = False
) -> SessionDrop | None:
    """Append the IPv6 packets of a batch to `packets`; why it ended early, None if it did not.

    Per-packet path. `addresses` are the source and destination that every packet must have. The first that
    does not fit ends the batch. A single packet comes as it is, long ones as views. `partial` allows packets
    with a partial checksum.
    """
    end, total = 0, len(plaintext)
    view: memoryview | None = None
    while end < total:
        start = end
        if total - start < IPV6_HEADER_LENGTH:
            return SessionDrop.PLAINTEXT_MALFORMED
        end = start + IPV6_HEADER_LENGTH + (plaintext[start + 4] << 8 | plaintext[start + 5])
        if end > total:
            return SessionDrop.PLAINTEXT_MALFORMED
        version = plaintext[start] >> 4
        if version != 6 and not (
            partial and version == 7 and end - start >= MIN_LENGTHS[plaintext[start + 6]]
        ):
            return SessionDrop.PLAINTEXT_MALFORMED
        if plaintext[start + 8 : start + 40] != addresses:
            return foreign_address(plaintext[start + 8 : start + 40], addresses)
        if end - start == total:
            packets.append(plaintext)
        elif end - start < _COPY_BELOW:
            packets.append(plaintext[start:end])
        else:
            view = view or memoryview(plaintext)
            packets.append(view[start:end])
    return None


def foreign_address(found: Buffer, expected: bytes) -> SessionDrop:
    """Which of a packet's two addresses is not the expected one; the source if it is both."""
    if found[:16] != expected[:16]:
        return SessionDrop.IN_FOREIGN_SOURCE
    return SessionDrop.IN_FOREIGN_DESTINATION
