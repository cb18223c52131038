# SPDX-License-Identifier: Apache-2.0
"""Bluetooth by BlueZ and the kernel's L2CAP sockets.

names, bus           D-Bus, as far as BlueZ is on it
adapters             which adapters there are, and what can be done with the wanted one
peripheral           being seen and read
scanner, reader      seeing and reading others
sockaddr, l2cap      channels
session              all of that on one adapter, while it is ready
backend              follows the adapter
"""

from pineconed.transport.ble.bluez.backend import BluezBackend

__all__ = ["BluezBackend"]
