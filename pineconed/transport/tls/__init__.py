# SPDX-License-Identifier: Apache-2.0
"""Peerings over TLS 1.3 in which both ends prove their keys before the handshake (protocol section 10)."""
