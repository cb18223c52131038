# SPDX-License-Identifier: Apache-2.0
"""Bytes to values and back, without state and without I/O (protocol sections 1 to 7)."""
