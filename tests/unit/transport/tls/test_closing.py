# SPDX-License-Identifier: Apache-2.0
"""A TLS listener that is closed, as a reload does, in the moment in which somebody comes in."""

import asyncio
from typing import Any

import pytest

from pineconed.transport.tls.stream import TlsStream
from tests.unit.transport.tls.house import House, run


def test_who_proves_himself_just_when_the_listener_closes_is_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else he would come in by the rules of before a reload, behind its back."""

    async def check(house: House) -> None:
        prove = house.service._prove_in_time
        closings: list[asyncio.Task[None]] = []

        async def prove_and_close(*arguments: Any) -> TlsStream:
            stream = await prove(*arguments)
            closings.append(asyncio.create_task(house.service.close()))
            return stream

        monkeypatch.setattr(house.service, "_prove_in_time", prove_and_close)
        (await house.dial()).close()
        await asyncio.gather(*closings)
        await house.settle()
        assert (house.streams, house.failures) == ([], ["the listener was closed"])
        assert house.gate.half_open == 0

    run(check)
