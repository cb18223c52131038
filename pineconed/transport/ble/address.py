# SPDX-License-Identifier: Apache-2.0
"""Bluetooth LE device addresses, as values."""

from enum import IntEnum
from typing import NamedTuple


class AddressKind(IntEnum):
    """Whether an address belongs to a chip or was made up; the numbers are those of the kernel's sockets."""

    PUBLIC = 1
    RANDOM = 2


class BleAddress(NamedTuple):
    """A device address: six octets in upper-case hexadecimal, as in `5C:F3:70:00:00:01`, and its kind.

    Random ones change every few minutes, and say nothing of who is behind them.
    """

    text: str
    kind: AddressKind

    def __str__(self) -> str:
        return self.text
