# SPDX-License-Identifier: Apache-2.0
"""LAN discovery: nodes on one network segment find each other by multicast beacons (protocol section 8).

interfaces, netlink     which network interfaces and addresses this host has
watcher                 every change of them, also for those who dial
segments                on which of them discovery takes part, by name, kind and address
beacon, beacon_socket   what goes over the wire, and the sockets that carry it
neighbours              who is heard and not connected, within bounds
policy                  whom to dial, when, and which peerings are one too many; no I/O, no clock
lan                     joins these, with streams and links that the daemon lends it
"""
