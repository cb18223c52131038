# SPDX-License-Identifier: Apache-2.0
"""A TLS connection as a stream: what is sent arrives, whatever the kernel takes; ends and faults."""

import ssl
import time
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pineconed.transport.tls.stream import FILL, LEAST_FILL, MAX_BARREN, MAX_UNASKED, TlsStream
from tests.unit.transport.tls.pairs import CLIENT, tcp_pair, tls_pair


def read(stream: TlsStream, size: int = 1 << 18) -> bytes:
    """What the next call gives."""
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: stream.recv_into(buffer)])


def test_it_says_who_is_there() -> None:
    with tls_pair(tcp_pair) as (one, two):
        assert (two.kind, two.remote, two.proven_key) == ("tls", "client", CLIENT.public_key)
        assert one.has_room()
        assert one.rtt() is not None


def test_bytes_pass_both_ways_and_wait_for_nobody() -> None:
    with tls_pair() as (one, two):
        with pytest.raises(BlockingIOError):
            two.recv_into(memoryview(bytearray(100)))
        assert one.send([b"good ", bytearray(b"morning")]) == 12
        assert two.send([b"hello"]) == 5
        assert read(two) == b"good morning"
        assert read(one) == b"hello"
        assert not one.pending


def test_what_is_left_of_a_record_is_pending() -> None:
    with tls_pair() as (one, two):
        one.send([b"0123456789"])
        pieces, pending = list[bytes](), list[bool]()
        while sum(map(len, pieces)) < 10:
            with suppress(BlockingIOError):
                pieces.append(read(two, 4))
                pending.append(two.pending)
        assert pieces == [b"0123", b"4567", b"89"]
        assert pending == [True, True, False]


class Sender:
    """Sends as the driver does: what was not taken comes first next time, cut in another way."""

    def __init__(self, stream: TlsStream, data: bytes, rng: Random) -> None:
        self.stream, self.left, self.rng = stream, data, rng
        self.refusals = 0

    def go_on(self) -> None:
        """One send of what is pulled at once."""
        pull = memoryview(self.left)[:70_000]
        cut = self.rng.randrange(len(pull) + 1)
        try:
            sent = self.stream.send([pull[:cut], pull[cut:]] if cut else [pull])
        except BlockingIOError:
            self.refusals += 1
            return
        assert sent > 0
        self.left = self.left[sent:]


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 300_000))
def test_all_arrives_in_order_when_the_kernel_takes_little(seed: int, size: int) -> None:
    rng = Random(seed)
    data = rng.randbytes(size)
    with tls_pair() as (one, two):
        sender, got = Sender(one, data, rng), bytearray()
        while len(got) < size:
            if sender.left:
                sender.go_on()
            with suppress(BlockingIOError):
                got += read(two, rng.choice([100, 20_000, 262_144]))
        assert bytes(got) == data
        assert not sender.left


def test_a_full_line_takes_nothing_and_loses_nothing() -> None:
    data = Random(1).randbytes(1_000_000)
    with tls_pair() as (one, two):
        sender, got = Sender(one, data, Random(2)), bytearray()
        while sender.refusals < 3:
            sender.go_on()
        while len(got) < len(data):
            with suppress(BlockingIOError):
                got += read(two)
            if sender.left:
                sender.go_on()
        assert bytes(got) == data


def test_an_end_without_a_farewell_is_an_end() -> None:
    with tls_pair() as (one, two):
        one.send([b"last words"])
        one.close()
        assert read(two) == b"last words"
        assert read(two) == b""


def test_a_farewell_is_an_end_too() -> None:
    with tls_pair() as (one, two):
        one.send([b"last words"])
        with pytest.raises(ssl.SSLWantReadError):
            one._tls.unwrap()
        one._socket.send([one._outgoing.read()])
        assert read(two) == b"last words"
        assert read(two) == b""
        assert read(two) == b""


def test_changed_bytes_end_it_with_a_reason() -> None:
    with tls_pair() as (one, two):
        one._tls.write(b"something")
        record = bytearray(one._outgoing.read())
        record[-1] ^= 1
        one._socket.send([record])
        with pytest.raises(OSError, match="TLS failed: bytes were changed on the way"):
            read(two)


def test_records_with_hardly_any_data_are_taken_a_few_at_a_time() -> None:
    """As key updates are, which Python cannot send."""
    with tls_pair(tcp_pair) as (one, two):
        for _ in range(10_000):
            one._tls.write(b"!")
        one._unsent = memoryview(one._outgoing.read())
        got, sizes = 0, list[int]()
        while got < 10_000:
            with suppress(BlockingIOError):
                one._flush()
            with suppress(BlockingIOError):
                sizes.append(len(read(two)))
                got += sizes[-1]
        assert max(sizes) * 23 <= 2 * MAX_BARREN
        assert max(sizes[5:]) * 23 <= LEAST_FILL + 23


def test_data_is_taken_much_at_a_time() -> None:
    with tls_pair(tcp_pair) as (one, two):
        sender, got, largest = Sender(one, bytes(8_000_000), Random(1)), 0, 0
        while got < 8_000_000:
            if sender.left:
                sender.go_on()
            with suppress(BlockingIOError):
                size = len(read(two))
                got, largest = got + size, max(largest, size)
        assert two._fill == FILL
        assert largest > FILL // 2


def test_whoever_asks_without_reading_the_answers_is_cut_off() -> None:
    with tls_pair() as (one, two):
        two._unsent = memoryview(bytes(MAX_UNASKED))
        two._tls.write(b"stands for the answer to a key update")
        one.send([b"x"])
        with pytest.raises(OSError, match="without reading the answers"):
            read(two)


def test_closing_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    with tls_pair(tcp_pair) as (one, _):
        sender = Sender(one, bytes(20_000_000), Random(3))
        while sender.refusals < 1:
            sender.go_on()
        start = time.monotonic()
        one.close()
        assert time.monotonic() - start < 0.5
