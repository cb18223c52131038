# SPDX-License-Identifier: Apache-2.0
"""Echoes: what is sent when, and which of route, session and peer is said to fail."""

import asyncio
from typing import Any

import pytest

from pineconed.admin import pinging, requests, schema
from pineconed.admin.errors import AdminError
from pineconed.admin.identifier import address_text
from pineconed.dataplane.forward import SendResult
from pineconed.overlay.address import address_of
from pineconed.overlay.events import DialFailed, EchoAnswered, SessionUp
from tests.unit.admin.fakes import BARE_KEY, CHILD_KEY, OWN_KEY, PARENT_KEY, FakeDriver, World

ADDRESS = address_text(CHILD_KEY)


def ping(world: World, to: str = ADDRESS, timeout: float = 0.1) -> schema.Ping:
    """One echo from beginning to end."""
    return asyncio.run(world.backend().ping(requests.SendPing(to, timeout)))


def later(driver: FakeDriver, event: Any) -> None:
    asyncio.get_running_loop().call_soon(driver.tell, event)


def test_an_answer_has_the_key_and_the_time() -> None:
    answer = ping(World())
    assert (answer.answered, answer.failed, answer.dialled) == (True, None, False)
    assert (answer.public_key, answer.rtt_seconds) == (CHILD_KEY.hex(), 0.0123)
    assert (answer.to, answer.address) == (ADDRESS, ADDRESS)


def test_without_a_session_one_is_dialled_first() -> None:
    world = World()

    def dial_first(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult | None:
        if len(driver.echoes) > 1:
            return driver.answer(prefix, data)
        later(driver, SessionUp(PARENT_KEY, "AES_256_GCM", initiator=True))
        later(driver, SessionUp(CHILD_KEY, "AES_256_GCM", initiator=True))
        return None

    world.driver.on_ping = dial_first
    answer = ping(world)
    assert (answer.answered, answer.dialled) == (True, True)
    assert len(set(world.driver.echoes)) == 1


def no_session(driver: FakeDriver, prefix: bytes, data: bytes) -> None:
    """The handshake goes nowhere."""


def refused_dial(driver: FakeDriver, prefix: bytes, data: bytes) -> None:
    later(driver, DialFailed(address_of(CHILD_KEY)))


def silence(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult:
    return SendResult.QUEUED


def no_route(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult:
    return SendResult.NO_ROUTE


def another(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult:
    driver.tell(EchoAnswered(PARENT_KEY, data, 0.1))
    return SendResult.QUEUED


@pytest.mark.parametrize(
    ("on_ping", "way", "failed", "says"),
    [
        (no_session, True, "session", "nobody with this address answered"),
        (refused_dial, True, "session", "nobody with this address answered"),
        (no_route, False, "route", "No peer is connected"),
        (no_route, True, "route", "No peer leads towards the node"),
        (silence, True, "peer", "no answer came"),
        (another, True, "session", f"has another key, {PARENT_KEY.hex()}"),
    ],
)
def test_what_fails_is_named(on_ping: Any, way: bool, failed: str, says: str) -> None:
    world = World()
    world.driver.on_ping, world.node.way = on_ping, way
    answer = ping(world, CHILD_KEY.hex())
    assert (answer.answered, answer.failed, answer.rtt_seconds) == (False, failed, None)
    assert says in answer.explanation


def test_a_listed_node_without_sessions_is_named_as_such() -> None:
    world = World()
    world.driver.on_ping = no_session
    answer = ping(world, address_text(BARE_KEY))
    assert answer.failed == "session"
    assert "listed under overlay.bare_ipv6" in answer.explanation


def test_a_dial_that_failed_is_told_before_the_time_is_over() -> None:
    world = World()
    world.driver.on_ping = refused_dial
    assert ping(world, timeout=30).failed == "session"


def test_a_failed_attempt_holds_the_next_one_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells when it may be tried again, so it is tried now and then."""
    monkeypatch.setattr(pinging, "RETRY", 0.01)
    world = World()
    world.driver.on_ping = lambda driver, prefix, data: (
        driver.answer(prefix, data) if len(driver.echoes) == 3 else None
    )
    assert ping(world, timeout=5).answered


def test_answers_to_others_change_nothing() -> None:
    world = World()

    def confuse(driver: FakeDriver, prefix: bytes, data: bytes) -> SendResult:
        driver.tell(EchoAnswered(CHILD_KEY, b"something else", 0.1))
        driver.answer(prefix, data)
        return driver.answer(prefix, data)

    world.driver.on_ping = confuse
    assert ping(world).rtt_seconds == 0.0123


@pytest.mark.parametrize(("to", "code"), [(OWN_KEY.hex(), "bad_request"), ("nobody", "bad_request")])
def test_what_cannot_be_pinged_is_refused(to: str, code: str) -> None:
    with pytest.raises(AdminError) as refusal:
        ping(World(), to)
    assert refusal.value.code == code


def test_not_more_than_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinging, "MAX_PINGS", 2)
    world = World()
    world.driver.on_ping = silence
    backend = world.backend()

    async def three() -> list[Any]:
        request = requests.SendPing(ADDRESS, 0.1)
        return await asyncio.gather(*(backend.ping(request) for _ in range(3)), return_exceptions=True)

    first, second, third = asyncio.run(three())
    assert (first.failed, second.failed) == ("peer", "peer")
    assert isinstance(third, AdminError)
    assert (third.code, third.status) == ("limit", 409)
