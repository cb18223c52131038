# SPDX-License-Identifier: Apache-2.0
"""Bumble as a backend, where the controller does not do as it should."""

import asyncio
from typing import Any

import pytest
from bumble.transport.common import AsyncPipeSink, Transport

from pineconed.transport.ble import bumble
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.ble.bumble import BumbleBackend
from tests.unit.transport.ble.radio import Radio, Stick
from tests.unit.waiting import until


class LostSink:
    """What a driver does when the device under it goes in this moment."""

    def on_packet(self, _: bytes) -> None:
        raise OSError(19, "No such device")


async def reports_of(radio: Radio, sinks: list[Any], count: int) -> list[AdapterReport]:
    """The first reports of a backend whose controller has one of these sinks each time it is opened."""
    stick = Stick(radio, "a", 1)

    async def open_controller(_: str) -> Transport:
        sink = sinks.pop(0) if sinks else AsyncPipeSink(stick.controller)
        return Transport(stick, sink)

    told: list[AdapterReport] = []
    backend = BumbleBackend("a", open_controller)
    backend.start(told.append)
    try:
        await until(lambda: len(told) >= count, 10)
    finally:
        await backend.close()
    return told


def test_a_controller_that_goes_while_it_is_powered_on_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bumble, "RETRY", 0.01)

    async def check() -> None:
        told = await reports_of(Radio(), [LostSink()], 2)
        assert [report.state for report in told] == [AdapterState.FAILED, AdapterState.READY]
        assert "No such device" in told[0].detail

    asyncio.run(asyncio.wait_for(check(), 20))
