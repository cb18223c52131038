# SPDX-License-Identifier: Apache-2.0
"""WebSocket listeners when it is too late for an answer: the client has gone, or there are no descriptors."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from pineconed.transport.gate import AcceptLimits
from tests.unit.transport.websocket.front import Front, with_front
from tests.unit.transport.websocket.test_server import LOOPS, UPGRADE, ask, guest, request
from tests.unit.waiting import until


@LOOPS
def test_a_client_that_does_not_wait_for_the_answer_is_no_fault_of_ours(loop: Callable[[], Any]) -> None:
    async def check(front: Front) -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", front.port)) as client:
                client.sendall(request(headers=UPGRADE))
                client.shutdown(socket.SHUT_WR)
                await asyncio.sleep(0.01)
                await until(lambda: front.gate.half_open == 0 or bool(front.intake.streams))
            for stream in front.intake.streams:
                stream.close()
        assert front.intake.failures == []

    limits = AcceptLimits(half_open=1000, half_open_per_source=1000)
    with structlog.testing.capture_logs() as lines:
        with_front(check, limits=limits, loop=loop)
    assert lines == []


def test_without_descriptors_for_a_websocket_the_client_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, "Too many open files")

    async def check(front: Front) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", none_left)
            await ask(front, request(headers=UPGRADE))
        assert await front.failed() == "too many open files"
        await until(lambda: front.gate.half_open == 0)
        other = await guest(front, request(headers=UPGRADE))
        assert "101" in await other.head()
        other.close()

    with structlog.testing.capture_logs() as lines:
        with_front(check)
    assert lines == []
