# SPDX-License-Identifier: Apache-2.0
"""The host's end of the overlay: a TUN device, its address, MTU and route.

`attach.open_tun` makes one; `device` opens it, `plain` or `offload` reads and writes its packets, `netlink`
configures it.
"""
