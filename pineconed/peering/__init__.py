# SPDX-License-Identifier: Apache-2.0
"""One peering as a state machine: handshake, framing, keepalives, time-outs (protocol section 2)."""
