# SPDX-License-Identifier: Apache-2.0
"""Checksums that were left to us, against a plain sum of words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.checksum import checksum, word_sum
from pineconed.overlay.partial import complete, complete_at
from tests.unit.overlay.packets import OWN, PEER, TCP, UDP, ipv6, partial

BODIES = st.one_of(st.binary(max_size=300), st.integers(0, 21000).map(lambda count: b"\xff\x01\xfe" * count))


def plain_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(BODIES)
def test_words_are_added_as_one_would_by_hand(data: bytes) -> None:
    assert word_sum(data) == word_sum(memoryview(data)) == plain_sum(data) % 0xFFFF


@given(st.binary(max_size=300), st.sampled_from([(TCP, 20, 16), (UDP, 8, 6)]))
def test_a_partial_packet_becomes_the_one_with_the_whole_checksum(
    payload: bytes, kind: tuple[int, int, int]
) -> None:
    protocol, length, offset = kind
    header = bytes(range(length))
    blank = header[:offset] + b"\0\0" + header[offset + 2 :] + payload
    value = checksum(OWN + PEER, protocol, blank).to_bytes(2)
    whole = ipv6(OWN, PEER, blank[:offset] + value + blank[offset + 2 :], protocol)
    assert complete(partial(whole)) == whole
    pseudo = OWN + PEER + len(blank).to_bytes(4) + bytes([0, 0, 0, protocol])
    total = plain_sum(pseudo + whole[40:])
    assert total == 0xFFFF


@given(st.binary(min_size=50, max_size=300), st.integers(0, 10), st.integers(0, 9))
def test_a_field_may_be_anywhere(data: bytes, start: int, offset: int) -> None:
    start, field = 2 * start + 2, 2 * start + 2 * offset + 2
    done = complete_at(data, start, field)
    assert (done[:field], done[field + 2 :]) == (bytes([data[0] & 0xEF]) + data[1:field], data[field + 2 :])
    assert int.from_bytes(done[field : field + 2]) == 0xFFFF - plain_sum(data[start:]) % 0xFFFF


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_the_field_is_never_zero(protocol: int) -> None:
    """Zero would mean, in UDP, that there is none."""
    others = ipv6(OWN, PEER, bytes(40), protocol)
    field = 56 if protocol == TCP else 46
    packet = partial(others)
    seed = int.from_bytes(packet[field : field + 2])
    balanced = packet[:40] + (0xFFFF - seed).to_bytes(2) + packet[42:]
    assert complete(balanced)[field : field + 2] == b"\xff\xff"
