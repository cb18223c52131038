# SPDX-License-Identifier: Apache-2.0
"""The admin API: HTTP and JSON over a Unix socket, for pineconectl, scripts and curl.

A request visits `server` (HTTP), `endpoints` (which call it is), `handlers` (what the node, the
driver and the roster say) and `rows` (how that is put into `schema`, the JSON); `requests` are what calls
take. `openapi` describes the same endpoints and structs to others; `client` is the other end of the socket.
Only `server` imports aiohttp, so whoever wants no admin socket does not pay for it. `status_server` is the
other socket, for everybody.
"""
