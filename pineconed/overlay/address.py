# SPDX-License-Identifier: Apache-2.0
"""IPv6 addresses and the keys that they stand for (protocol section 11)."""

from pineconed.wire.keys import KEY_PADDING, KEY_PREFIX_LENGTH

ADDRESS_LENGTH = 16

OVERLAY_BYTE = 0xFD
"""The first byte of every overlay address: the prefix fd00::/8."""

OVERLAY_PREFIX = bytes((OVERLAY_BYTE,))


def address_of(public_key: bytes) -> bytes:
    """The 16-byte address of the node with this key."""
    return OVERLAY_PREFIX + public_key[:KEY_PREFIX_LENGTH]


def destination_key_of(address: bytes) -> bytes:
    """The 32-byte destination key for an overlay address: what it shows of the node's key, padded with zeros.

    ValueError for an address that is not one of the overlay.
    """
    if not is_overlay_address(address):
        raise ValueError(f"{address.hex()} is no address in fd00::/8")
    return address[len(OVERLAY_PREFIX) :] + KEY_PADDING


def is_overlay_address(address: bytes) -> bool:
    """Whether these are the 16 bytes of an address in fd00::/8."""
    return len(address) == ADDRESS_LENGTH and address[0] == OVERLAY_BYTE
