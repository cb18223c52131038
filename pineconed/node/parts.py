# SPDX-License-Identifier: Apache-2.0
"""The rooms that make up one node."""

from dataclasses import dataclass

from pineconed.dataplane.queues import Queues
from pineconed.dataplane.table import ForwardingTable
from pineconed.overlay.endpoint import Endpoint
from pineconed.router.ports import PortAllocator
from pineconed.router.router import Router


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is composed of, for those that only look at it."""

    started_at: float
    table: ForwardingTable
    queues: Queues
    endpoint: Endpoint
    router: Router
    ports: PortAllocator
