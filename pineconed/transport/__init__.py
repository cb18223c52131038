# SPDX-License-Identifier: Apache-2.0
"""Byte streams to other nodes: addresses of peers, listeners, and the dialler that keeps configured peers up.

What comes out of this room is a `stream.Stream`; the driver reads and writes it, and nothing in here
knows the protocol that it carries.
"""
