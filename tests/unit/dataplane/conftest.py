# SPDX-License-Identifier: Apache-2.0
"""Queues to test."""

import pytest

from pineconed.dataplane.queues import PeerQueue, Queues


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def queue(queues: Queues) -> PeerQueue:
    return queues.add(1)
