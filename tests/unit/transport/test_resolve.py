# SPDX-License-Identifier: Apache-2.0
"""Host names to addresses: literals at once, names in a thread that nobody waits for."""

import asyncio
import socket
import threading
import time

import pytest

from pineconed.transport import resolve as resolve_module
from pineconed.transport.resolve import MAX_UNANSWERED, ResolveError, printable, resolve


def test_literals_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(**_: object) -> None:
        raise AssertionError("a literal address went through a thread")

    monkeypatch.setattr(threading, "Thread", no_thread)
    (four,) = asyncio.run(resolve("192.0.2.1", 7, 1))
    assert four == (socket.AF_INET, ("192.0.2.1", 7))
    (six,) = asyncio.run(resolve("2001:db8::1", 7, 1))
    assert six.sockaddr[:2] == ("2001:db8::1", 7)


def test_every_address_of_a_name_in_the_order_of_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET6, 1, 6, "", ("::1", 7, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 7))]

    def answer(host: str, port: int, *, type: int, flags: int) -> object:  # noqa: A002
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no literal")
        return answers

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    found = asyncio.run(resolve("name", 7, 1))
    assert [address.family for address in found] == [socket.AF_INET6, socket.AF_INET]
    assert found[1].sockaddr == ("127.0.0.1", 7)


def _patched_look_up(monkeypatch: pytest.MonkeyPatch, look_up: object) -> None:
    def literal_or(host: str, port: int, flags: int = 0) -> object:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no literal")
        assert callable(look_up)
        return look_up()

    monkeypatch.setattr(resolve_module, "_look_up", literal_or)


def test_an_unknown_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    _patched_look_up(monkeypatch, fail)
    with pytest.raises(ResolveError, match="cannot find the address of 'nowhere': Name or service not known"):
        asyncio.run(resolve("nowhere", 7, 1))


def test_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(ResolveError, match="there is no network interface nothere0"):
        asyncio.run(resolve("fe80::1%nothere0", 7, 5))


def test_a_name_that_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(ResolveError, match="cannot find the address"):
        asyncio.run(resolve("a" * 64 + "\udc80", 7, 1))


def test_a_silent_name_server_holds_up_neither_the_loop_nor_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    _patched_look_up(monkeypatch, lambda: release.wait(10) and [])
    before = time.monotonic()
    with pytest.raises(ResolveError, match=r"no name server told .* 'slow' within 0\.05 s"):
        asyncio.run(resolve("slow", 7, 0.05))
    assert time.monotonic() - before < 1
    left = [thread for thread in threading.enumerate() if thread.name == "resolve slow"]
    assert [thread.daemon for thread in left] == [True]
    release.set()
    left[0].join(5)
    assert not left[0].is_alive()


def test_silent_name_servers_leave_few_threads_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    _patched_look_up(monkeypatch, lambda: release.wait(10) and [])

    def left() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("resolve ")]

    for _ in range(MAX_UNANSWERED + 5):
        with pytest.raises(ResolveError, match=r"no name server .* the address of 'slow'"):
            asyncio.run(resolve("slow", 7, 0.01))
    with pytest.raises(ResolveError, match=r"'other' within 0\.01 s"):
        asyncio.run(resolve("other", 7, 0.01))
    assert len(left()) == MAX_UNANSWERED + 1
    release.set()
    for thread in left():
        thread.join(5)
    assert asyncio.run(resolve("slow", 7, 5)) == []


def test_an_answer_after_the_deadline_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    _patched_look_up(monkeypatch, lambda: release.wait(10) and [])

    async def late() -> None:
        with pytest.raises(ResolveError):
            await resolve("slow", 7, 0.01)
        release.set()
        await asyncio.sleep(0.05)

    asyncio.run(late())


@pytest.mark.parametrize(
    ("sockaddr", "text"),
    [
        (("192.0.2.1", 7), "192.0.2.1:7"),
        (("2001:db8::1", 7, 0, 0), "[2001:db8::1]:7"),
        (("::ffff:192.0.2.1", 7, 0, 0), "192.0.2.1:7"),
        (("fe80::1", 7, 0, 1), "[fe80::1%lo]:7"),
        (("fe80::1%lo", 7, 0, 1), "[fe80::1%lo]:7"),
        (("fe80::1", 7, 0, 99999), "[fe80::1%99999]:7"),
    ],
)
def test_printable(sockaddr: tuple[str, int], text: str) -> None:
    assert printable(sockaddr) == text
