# SPDX-License-Identifier: Apache-2.0
"""The value that every node lets others read: where it takes channels, who it is (protocol section 12)."""

import struct
from typing import NamedTuple

SERVICE_UUID = "a2fda8dd-d250-4a64-8b9a-248f50b93c64"
"""The GATT service that a node advertises, alone, in a connectable advertisement."""

CHARACTERISTIC_UUID = "15d4151b-1008-41c0-85f2-950facf8a3cd"
"""Its one characteristic: readable without pairing or encryption, never written, no notifications."""

PREFIX_LENGTH = 18
"""Bytes of the public key in the value. iOS applications compare all of them, Android ones 16."""

VALUE_LENGTH = 20

_FIELDS = struct.Struct(">H18s")


class Value(NamedTuple):
    """The PSM on which a node takes L2CAP LE credit-based channels, and the beginning of its public key."""

    psm: int
    prefix: bytes


def encode_value(value: Value) -> bytes:
    """The 20 bytes of a value."""
    return _FIELDS.pack(*value)


def decode_value(data: bytes) -> Value | None:
    """The value in these bytes; None if there are not exactly 20. Very old applications have 2."""
    return Value(*_FIELDS.unpack(data)) if len(data) == VALUE_LENGTH else None
