# SPDX-License-Identifier: Apache-2.0
"""Super-packets: what passes for one, and how they are cut."""

import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.checksum import checksum
from pineconed.overlay.partial import complete
from pineconed.overlay.session.segmentation import cut
from pineconed.overlay.session.super_packet import (
    SuperKind,
    SuperPacket,
    decode_super_packet,
    encode_super_packet,
)
from pineconed.wire.errors import CodecError
from tests.unit.overlay.packets import OWN, PEER, TCP, UDP, ipv6, partial

FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
OPTIONS = b"\x01\x01\x08\x0a" + bytes(8)


def whole(packet: bytes) -> bytes:
    """With the partial checksum of a super-packet."""
    return packet[:1] + partial(packet)[1:]


def tcp(payload: bytes, segment: int, flags: int = ACK | PSH, sequence: int = 0xFFFFFF00) -> SuperPacket:
    """A run of TCP data with timestamps."""
    offset = (20 + len(OPTIONS)) // 4 << 4
    header = struct.pack(">HHIIBBHHH", 1, 2, sequence, 9, offset, flags, 100, 0x1234, 0) + OPTIONS
    packet = whole(ipv6(PEER, OWN, header + payload, TCP))
    return SuperPacket(SuperKind.TCP, segment, 40 + len(header), packet)


def udp(payload: bytes, segment: int) -> SuperPacket:
    """Several datagrams."""
    header = struct.pack(">HHHH", 1, 2, 8 + len(payload), 0x1234)
    return SuperPacket(SuperKind.UDP, segment, 48, whole(ipv6(PEER, OWN, header + payload, UDP)))


PAYLOADS = st.binary(min_size=101, max_size=700)


@given(PAYLOADS, st.integers(48, 100), st.sampled_from([tcp, udp]))
def test_they_come_back(payload: bytes, segment: int, make: Callable[[bytes, int], SuperPacket]) -> None:
    packet = make(payload, segment)
    plaintext = encode_super_packet(packet)
    assert plaintext[:6] == bytes([5, packet.kind]) + struct.pack(">HH", segment, packet.header_length)
    assert decode_super_packet(plaintext) == packet


def _flawed() -> dict[str, SuperPacket]:
    good, datagrams = tcp(bytes(200), 100), udp(bytes(200), 100)
    data = good.packet
    return {
        "cut off": good._replace(packet=data[:47]),
        "IPv4": good._replace(packet=b"\x45" + data[1:]),
        "longer than it says": good._replace(packet=data + b"!"),
        "shorter than it says": good._replace(packet=data[:-1]),
        "another protocol": good._replace(packet=data[:6] + b"\x11" + data[7:]),
        "an extension header": good._replace(packet=data[:6] + b"\x3c" + data[7:]),
        "other headers": good._replace(header_length=good.header_length + 4),
        "headers of nothing": good._replace(header_length=0),
        "an offset too small": good._replace(packet=data[:52] + b"\x10" + data[53:], header_length=44),
        "SYN": tcp(bytes(200), 100, ACK | SYN),
        "no segments": good._replace(segment_size=0),
        "tiny segments": good._replace(segment_size=47),
        "a single segment": good._replace(segment_size=200),
        "no TCP header": SuperPacket(SuperKind.TCP, 100, 60, ipv6(PEER, OWN, bytes(19), TCP)),
        "headers longer than the packet": SuperPacket(
            SuperKind.TCP, 100, 100, ipv6(PEER, OWN, bytes(12) + b"\xf0" + bytes(20), TCP)
        ),
        "another UDP length": datagrams._replace(
            packet=datagrams.packet[:44] + b"\x00\x09" + datagrams.packet[46:]
        ),
        "too many datagrams": udp(bytes(48 * 128 + 1), 48),
    }


@pytest.mark.parametrize("name", _flawed())
def test_what_is_none(name: str) -> None:
    with pytest.raises(CodecError):
        decode_super_packet(encode_super_packet(_flawed()[name]))


@pytest.mark.parametrize("plaintext", [b"\x05", b"\x05\x03" + bytes(100), b"\x04\x01" + bytes(100)])
def test_what_does_not_begin_as_one(plaintext: bytes) -> None:
    with pytest.raises(CodecError):
        decode_super_packet(plaintext)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(CodecError):
        decode_super_packet(b"\x05\x01" + data)


def _is_valid(segment: bytes) -> bool:
    packet = complete(segment)
    return segment == partial(packet) and checksum(packet[8:40], packet[6], packet[40:]) == 0xFFFF


@given(PAYLOADS, st.integers(48, 100))
def test_tcp_is_cut_as_a_sender_would(payload: bytes, size: int) -> None:
    packet = tcp(payload, size, ACK | PSH | FIN | CWR)
    segments = cut(packet)
    assert b"".join(segment[packet.header_length :] for segment in segments) == payload
    assert {len(segment) for segment in segments[:-1]} == {packet.header_length + size}
    sequence = 0xFFFFFF00
    for segment in segments:
        assert _is_valid(segment)
        assert len(segment) - 40 == int.from_bytes(segment[4:6])
        assert int.from_bytes(segment[44:48]) == sequence
        assert segment[60:72] == OPTIONS
        sequence = (sequence + len(segment) - packet.header_length) % 2**32
    assert segments[0][53] == ACK | CWR
    assert {segment[53] for segment in segments[1:-1]} <= {ACK}
    assert segments[-1][53] == ACK | PSH | FIN


@given(PAYLOADS, st.integers(48, 100))
def test_udp_is_cut_into_datagrams(payload: bytes, size: int) -> None:
    datagrams = cut(udp(payload, size))
    assert b"".join(datagram[48:] for datagram in datagrams) == payload
    for datagram in datagrams:
        assert _is_valid(datagram)
        assert int.from_bytes(datagram[4:6]) == int.from_bytes(datagram[44:46]) == len(datagram) - 40
