# SPDX-License-Identifier: Apache-2.0
"""Outgoing TCP streams: one address after another, with the options of a peering."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

import pytest

from pineconed.transport import tcp
from pineconed.transport.resolve import ResolveError, SocketAddress
from pineconed.transport.stream import NOTSENT_LOWAT
from pineconed.transport.tcp import MAX_ADDRESSES, ConnectError, plain_reason, reach, tune


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def refused() -> Iterator[SocketAddress]:
    """An address that refuses: bound, never listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield SocketAddress(socket.AF_INET, bound.getsockname())


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: SocketAddress) -> None:
    async def answer(host: str, port: int, timeout: float) -> list[SocketAddress]:
        return list(addresses)

    monkeypatch.setattr(tcp, "resolve", answer)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[..., object]:
    if request.param == "asyncio":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop")
    return uvloop.run  # type: ignore[no-any-return]


def test_connects_and_sets_every_option(server: socket.socket, run: Callable[..., object]) -> None:
    async def check() -> None:
        peering, remote = await reach("127.0.0.1", server.getsockname()[1], 5, "lo")
        with peering:
            assert not os.get_blocking(peering.fileno())
            assert peering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert peering.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peering.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert peering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT == 16384
            assert peering.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"lo\0"
        assert remote == f"127.0.0.1:{server.getsockname()[1]}"

    run(check())


def test_tries_addresses_one_after_another(
    server: socket.socket, refused: SocketAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[SocketAddress] = []
    original = tcp._reach_one

    async def noted(address: SocketAddress, timeout: float, interface: str | None, _: object) -> object:
        tried.append(address)
        return await original(address, timeout, interface, None)

    good = SocketAddress(socket.AF_INET, server.getsockname())
    resolve_to(monkeypatch, refused, good, refused)
    monkeypatch.setattr(tcp, "_reach_one", noted)
    reached = asyncio.run(reach("name", 7, 5))
    assert tried == [refused, good]
    reached.socket.close()


def test_says_why_each_address_failed(refused: SocketAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = SocketAddress(socket.AF_INET, ("255.255.255.255", 7))
    resolve_to(monkeypatch, refused, nowhere)
    with pytest.raises(ConnectError) as failure:
        asyncio.run(reach("name", 7, 5))
    first, second = str(failure.value).split("; ")
    assert first == f"127.0.0.1:{refused.sockaddr[1]}: nobody listens there (connection refused)"
    assert second.startswith("255.255.255.255:7: ")


def test_an_address_that_is_reached_by_the_overlay_is_passed_over(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as inside:
        overlay = SocketAddress(socket.AF_INET6, inside.getsockname())
        resolve_to(monkeypatch, overlay)
        with pytest.raises(ConnectError, match="over the overlay"):
            asyncio.run(reach("name", 7, 5, overlay_address=IPv6Address("::1")))
        resolve_to(monkeypatch, overlay, SocketAddress(socket.AF_INET, server.getsockname()))
        reached = asyncio.run(reach("name", 7, 5, overlay_address=IPv6Address("::1")))
    assert reached.remote == f"127.0.0.1:{server.getsockname()[1]}"
    reached.socket.close()


def test_a_name_with_thousands_of_addresses_is_soon_looked_up_anew(
    refused: SocketAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, *[refused] * 4000)
    with pytest.raises(ConnectError) as failure:
        asyncio.run(reach("name", 7, 5))
    assert len(str(failure.value).split("; ")) == MAX_ADDRESSES


def test_an_address_that_never_answers_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener with a full backlog drops what comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            resolve_to(monkeypatch, SocketAddress(socket.AF_INET, listener.getsockname()))
            with pytest.raises(ConnectError, match=r"no answer \(connection timed out\)"):
                asyncio.run(reach("name", 7, 0.1))


def test_an_interface_that_is_not_there_says_so() -> None:
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:7: there is no network interface nosuch0"):
        asyncio.run(reach("127.0.0.1", 7, 1, "nosuch0"))


def test_a_name_without_address_is_a_failed_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(host: str, port: int, timeout: float) -> list[SocketAddress]:
        raise ResolveError("cannot find the address of 'name'")

    monkeypatch.setattr(tcp, "resolve", unknown)
    with pytest.raises(ConnectError, match="cannot find the address"):
        asyncio.run(reach("name", 7, 1))


def test_a_cancelled_connect_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """With warnings as errors an unclosed socket would fail this test."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)

        async def cancel() -> None:
            trying = asyncio.ensure_future(reach("127.0.0.1", listener.getsockname()[1], 5))
            await asyncio.sleep(0.05)
            trying.cancel()
            await asyncio.wait([trying])
            assert trying.cancelled()

        with socket.create_connection(listener.getsockname()):
            asyncio.run(cancel())


def test_tuning_fails_on_what_is_no_tcp() -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(OSError, match="not supported"):
        tune(near)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ECONNRESET, "x"), "connection reset by the peer"),
        (OSError(errno.EPIPE, "x"), "the peer closed the connection"),
        (OSError(errno.ETIMEDOUT, "x"), "no answer (connection timed out)"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to the host"),
        (TimeoutError(), "no answer (connection timed out)"),
        (OSError(errno.EXDEV, "Invalid cross-device link"), "Invalid cross-device link"),
        (OSError("only words"), "only words"),
    ],
)
def test_reasons_are_plain_english(error: OSError, text: str) -> None:
    assert plain_reason(error) == text


def test_a_reason_of_tls_is_not_taken_for_one_of_the_system() -> None:
    incoming = ssl.MemoryBIO()
    incoming.write(b"\x16\x03\x01\x00\x05hello")
    client = ssl.create_default_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="example")
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()
    assert caught.value.errno == errno.EPERM
    assert plain_reason(caught.value) == "unexpected message"
