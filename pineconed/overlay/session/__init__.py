# SPDX-License-Identifier: Apache-2.0
"""End-to-end sessions: nobody between two nodes can read, forge, replay or redirect their packets.

Everything is pure: moments, randomness and primitives come in from outside.
"""
