# SPDX-License-Identifier: Apache-2.0
"""Peerings inside WebSockets, `ws://` and `wss://`, dialled and taken in (protocol section 9).

aiohttp does HTTP and the framing. The driver only knows descriptors, so it gets one end of a socket pair,
and a `pump.Pump` moves the bytes between the other end and the WebSocket. Everything in here imports aiohttp,
so it is imported when the first such peer or listener needs it.
"""
