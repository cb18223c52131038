# SPDX-License-Identifier: Apache-2.0
"""The plain socket as a stream."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from pineconed.transport.stream import IOV_MAX, LocalEnd, SocketStream, local_end


@pytest.fixture
def connected() -> Iterator[tuple[SocketStream, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    stream = SocketStream(near, "127.0.0.1:1")
    with far:
        yield stream, far
        stream.close()


def test_sends_one_buffer_and_many(connected: tuple[SocketStream, socket.socket]) -> None:
    stream, far = connected
    assert stream.send([b"one"]) == 3
    assert stream.send([b"two", memoryview(b"three"), bytearray(b"four")]) == 12
    assert far.recv(100) == b"onetwothreefour"


def test_never_hands_the_kernel_more_pieces_than_it_takes(
    connected: tuple[SocketStream, socket.socket],
) -> None:
    stream, _ = connected
    assert stream.send([b"x"] * (IOV_MAX + 5)) == IOV_MAX


def test_reads_into_a_buffer_and_never_blocks(connected: tuple[SocketStream, socket.socket]) -> None:
    stream, far = connected
    buffer = bytearray(8)
    with pytest.raises(BlockingIOError):
        stream.recv_into(memoryview(buffer))
    far.sendall(b"hello")
    assert stream.recv_into(memoryview(buffer)) == 5
    assert buffer[:5] == b"hello"
    far.shutdown(socket.SHUT_WR)
    assert stream.recv_into(memoryview(buffer)) == 0
    assert stream.pending is False


def test_full_socket_refuses_instead_of_blocking(connected: tuple[SocketStream, socket.socket]) -> None:
    stream, _ = connected

    def fill() -> None:
        while True:
            stream.send([bytes(65536)])

    with pytest.raises(BlockingIOError):
        fill()


def test_room_is_measured_by_what_the_kernel_has_not_sent(
    connected: tuple[SocketStream, socket.socket],
) -> None:
    stream, far = connected
    assert stream.has_room()
    sent = 0
    while stream.has_room():
        sent += stream.send([bytes(65536)])
    received = bytearray()
    while len(received) < sent:
        received += far.recv(1 << 20)
    assert stream.has_room()


def test_closing_lets_the_last_bytes_arrive(connected: tuple[SocketStream, socket.socket]) -> None:
    stream, far = connected
    stream.send([b"farewell"])
    stream.close()
    assert far.recv(100) == b"farewell"
    assert far.recv(100) == b""


def test_closing_resets_a_peer_that_has_stopped_reading(
    connected: tuple[SocketStream, socket.socket],
) -> None:
    stream, far = connected
    while stream.has_room():
        stream.send([bytes(65536)])
    stream.close()
    stream.close()

    def read_all() -> None:
        while far.recv(1 << 20):
            pass

    with pytest.raises(ConnectionResetError):
        read_all()


def test_round_trip_time_comes_from_the_kernel(connected: tuple[SocketStream, socket.socket]) -> None:
    stream, far = connected
    stream.send([b"ping"])
    assert far.recv(4) == b"ping"
    round_trip = stream.rtt()
    assert round_trip is not None
    assert 0 < round_trip < 1
    stream.close()
    assert stream.rtt() is None


def test_a_socket_that_is_no_tcp_has_no_round_trip_time() -> None:
    near, far = socket.socketpair()
    with far:
        stream = SocketStream(near, "pair")
        assert stream.rtt() is None
        assert stream.fileno() == near.fileno()
        stream.close()


@pytest.mark.parametrize(
    ("family", "host", "address"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_local_end_is_an_address_as_interfaces_have_it(
    family: socket.AddressFamily, host: str, address: str
) -> None:
    with socket.socket(family) as bound:
        bound.bind((host, 0))
        assert local_end(bound) == LocalEnd(ip_address(address))


def test_what_has_no_address_has_no_local_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert local_end(ours) is None
    assert local_end(theirs) is None
