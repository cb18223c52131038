# SPDX-License-Identifier: Apache-2.0
"""Peerings by Bluetooth LE: nodes in reach of each other's radio find each other and peer (peer type 4).

value, address   what a node shows of itself, and where it was seen; no I/O
sightings        who was seen and what became of it, within bounds; no I/O, no clock
policy           whom to read, whom to dial, and when; no I/O, no clock
backend          what the rest asks of a Bluetooth stack
choose           which backend there is for an adapter
bumble           the one for controllers that pineconed drives itself, with bumble_channel and bumble_terms
bluetooth        drives a backend as the policy says, with links that the daemon lends it
stream           a channel of such a stack as the driver wants it
"""
