# SPDX-License-Identifier: Apache-2.0
"""When the firewall rules are looked at, with looks that a test makes."""

import asyncio
import threading

import pytest

from pineconed.tun import inbound
from pineconed.tun.inbound import Inbound, InboundWatch

FILTERED = Inbound("filtered", "by table inet pineconed")


def test_many_who_ask_get_one_look() -> None:
    looked: list[str] = []

    def look(interface: str) -> Inbound:
        looked.append(interface)
        return FILTERED

    async def ask() -> None:
        watch = InboundWatch("pine0", look)
        assert await asyncio.gather(*(watch.inbound() for _ in range(50))) == [FILTERED] * 50
        assert await watch.inbound() == FILTERED

    asyncio.run(ask())
    assert looked == ["pine0"]


def test_what_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "FRESH_SECONDS", 0.05)
    answers = [FILTERED, Inbound("open", "now")]

    async def ask() -> list[str]:
        watch = InboundWatch("pine0", lambda _: answers.pop(0))
        first = await watch.inbound()
        await asyncio.sleep(0.06)
        return [first.state, (await watch.inbound()).state]

    assert asyncio.run(ask()) == ["filtered", "open"]


def test_a_look_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(inbound, "FRESH_SECONDS", 0.0)
    go_on = threading.Event()
    looks: list[str] = []

    def look(interface: str) -> Inbound:
        looks.append(interface)
        go_on.wait(10)
        return FILTERED

    async def ask() -> None:
        watch = InboundWatch("pine0", look)
        for _ in range(3):
            found = await watch.inbound()
            assert found.state == "unknown"
            assert "has not told its firewall rules" in found.explanation
        assert looks == ["pine0"]
        go_on.set()
        await asyncio.sleep(0.02)
        assert await watch.inbound() == FILTERED

    asyncio.run(ask())


def test_a_caller_that_goes_away_does_not_end_the_look() -> None:
    go_on = threading.Event()

    def look(_: str) -> Inbound:
        go_on.wait(10)
        return FILTERED

    async def ask() -> None:
        watch = InboundWatch("pine0", look)
        impatient = asyncio.create_task(watch.inbound())
        await asyncio.sleep(0)
        impatient.cancel()
        go_on.set()
        assert await watch.inbound() == FILTERED

    asyncio.run(ask())


def test_a_look_that_fails_by_a_mistake_of_ours_is_told() -> None:
    def look(_: str) -> Inbound:
        raise ZeroDivisionError("a mistake")

    async def ask() -> None:
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(f"{context['message']}: {context['exception']}")
        )
        found = await InboundWatch("pine0", look).inbound()
        assert found == Inbound("unknown", "internal fault: ZeroDivisionError")
        assert faults == ["a look at the firewall rules failed: a mistake"]

    asyncio.run(ask())
