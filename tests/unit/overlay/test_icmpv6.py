# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 errors, RFC 4443."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.icmpv6 import MIN_MTU, Unreachable, may_be_answered, packet_too_big, unreachable
from tests.unit.overlay.packets import (
    FRAGMENT,
    HOP_BY_HOP,
    ICMPV6,
    MULTICAST,
    OPTIONS,
    OWN,
    PEER,
    ROUTING,
    UDP,
    ipv6,
    ports,
)

ECHO_REQUEST = b"\x80\x00" + bytes(6)
NO_ROUTE_ERROR = b"\x01\x00" + bytes(46)


def _ones_complement_sum(data: bytes) -> int:
    total = 0
    for (word,) in struct.iter_unpack(">H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _check(error: bytes | None, about: bytes) -> tuple[int, int, int]:
    """Check all that every error has in common; its type, code and parameter."""
    assert error is not None
    version, length, next_header, hop_limit = struct.unpack_from(">IHBB", error)
    assert (version, next_header, hop_limit) == (6 << 28, ICMPV6, 255)
    assert length == len(error) - 40
    assert len(error) == min(40 + 8 + len(about), MIN_MTU)
    assert error[8:24] == OWN
    assert error[24:40] == about[8:24]
    assert about.startswith(error[48:])
    pseudo_header = error[8:40] + struct.pack(">II", length, ICMPV6)
    assert _ones_complement_sum(pseudo_header + error[40:]) == 0xFFFF
    error_type, code, _, parameter = struct.unpack_from(">BBHI", error, 40)
    return error_type, code, parameter


@given(st.binary(max_size=1500))
def test_unreachable(payload: bytes) -> None:
    about = ipv6(OWN, PEER, payload)
    assert _check(unreachable(about, OWN, Unreachable.NO_ROUTE), about) == (1, 0, 0)
    assert _check(unreachable(about, OWN, Unreachable.ADDRESS), about) == (1, 3, 0)


@pytest.mark.parametrize(
    ("mtu", "told"), [(65000, 65000), (1281, 1281), (1280, 1280), (1279, 1280), (0, 1280)]
)
def test_packet_too_big_tells_what_fits_but_never_less_than_every_link_carries(mtu: int, told: int) -> None:
    about = ipv6(OWN, PEER, bytes(65_400))
    assert _check(packet_too_big(about, OWN, mtu), about) == (2, 0, told)


@pytest.mark.parametrize("payload", [ports(1, 2), ECHO_REQUEST[:1], b""])
@pytest.mark.parametrize("next_header", [UDP, 59])
def test_errors_about_anything_that_is_not_icmpv6(payload: bytes, next_header: int) -> None:
    assert may_be_answered(ipv6(OWN, PEER, payload, next_header))


@pytest.mark.parametrize(
    ("icmpv6_type", "allowed"),
    [(1, False), (2, False), (4, False), (127, False), (128, True), (129, True), (135, True), (137, False)],
)
@pytest.mark.parametrize(
    ("next_header", "extensions"),
    [
        (ICMPV6, b""),
        (OPTIONS, bytes([ICMPV6, 0]) + bytes(6)),
        (HOP_BY_HOP, bytes([ROUTING, 0]) + bytes(6) + bytes([ICMPV6, 1]) + bytes(14)),
        (FRAGMENT, bytes([ICMPV6, 0, 0, 1]) + bytes(4)),
        (HOP_BY_HOP, bytes([FRAGMENT, 0]) + bytes(6) + bytes([ICMPV6, 9, 0, 0]) + bytes(4)),
    ],
)
def test_no_error_about_an_icmpv6_error_wherever_it_begins(
    icmpv6_type: int, allowed: bool, next_header: int, extensions: bytes
) -> None:
    packet = ipv6(OWN, PEER, extensions + bytes([icmpv6_type]) + bytes(47), next_header)
    assert may_be_answered(packet) is allowed
    assert (unreachable(packet, OWN, Unreachable.NO_ROUTE) is not None) is allowed
    assert (packet_too_big(packet, OWN, 1280) is not None) is allowed


@pytest.mark.parametrize("offset", [8, 256, 0xFFF8])
def test_a_later_fragment_of_icmpv6_might_be_an_error(offset: int) -> None:
    def fragment(protocol: int) -> bytes:
        return ipv6(OWN, PEER, struct.pack(">BBHI", protocol, 0, offset | 1, 7) + ECHO_REQUEST, FRAGMENT)

    assert not may_be_answered(fragment(ICMPV6))
    assert may_be_answered(fragment(UDP))


def test_icmpv6_without_a_type_might_be_an_error() -> None:
    assert not may_be_answered(ipv6(OWN, PEER, b"", ICMPV6))
    assert not may_be_answered(ipv6(OWN, PEER, bytes([ICMPV6, 200]) + bytes(6), OPTIONS))


@pytest.mark.parametrize("source", [bytes(16), MULTICAST])
def test_no_error_to_what_is_no_single_node(source: bytes) -> None:
    assert unreachable(ipv6(source, PEER, ports(1, 2)), OWN, Unreachable.NO_ROUTE) is None
    assert packet_too_big(ipv6(source, PEER, ports(1, 2)), OWN, 1280) is None


@given(st.binary(max_size=100), st.sampled_from([HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS, ICMPV6]))
def test_any_packet_has_a_verdict(payload: bytes, next_header: int) -> None:
    packet = ipv6(OWN, PEER, payload, next_header)
    error = unreachable(packet, OWN, Unreachable.NO_ROUTE)
    assert may_be_answered(packet) is (error is not None)
    assert error is None or not may_be_answered(error)
