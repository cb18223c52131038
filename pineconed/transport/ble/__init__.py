# SPDX-License-Identifier: Apache-2.0
"""Peerings by Bluetooth LE: nodes in reach of each other's radio find each other and peer (peer type 4).

value, address   what a node shows of itself, and where it was seen; no I/O
backend          what the rest asks of a Bluetooth stack
stream           a channel of such a stack as the driver wants it
"""
