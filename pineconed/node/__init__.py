# SPDX-License-Identifier: Apache-2.0
"""The complete sans-IO node: composition of the rooms below, inputs, outputs, snapshots for the admin API."""

from pineconed.node.node import Node

__all__ = ["Node"]
