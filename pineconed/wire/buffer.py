# SPDX-License-Identifier: Apache-2.0
"""What bytes are held in, from the codecs to the sockets."""

Buffer = bytes | bytearray | memoryview
"""Bytes to read from; whoever keeps one says whether it may change meanwhile."""
