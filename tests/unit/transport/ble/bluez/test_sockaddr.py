# SPDX-License-Identifier: Apache-2.0
"""`struct sockaddr_l2` as the kernel has it (include/net/bluetooth/l2cap.h)."""

import socket

import pytest

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.bluez import l2cap, sockaddr
from pineconed.transport.ble.bluez.sockaddr import L2capAddress, pack_address, unpack_address

PUBLIC = L2capAddress(BleAddress("5C:F3:70:12:34:56", AddressKind.PUBLIC), 0x80)
RANDOM = L2capAddress(BleAddress("C0:FF:EE:00:00:01", AddressKind.RANDOM), 0xFF)


def test_the_bytes_are_the_kernels() -> None:
    assert pack_address(PUBLIC).hex(" ") == "1f 00 80 00 56 34 12 70 f3 5c 00 00 01 00"
    assert pack_address(RANDOM).hex(" ") == "1f 00 ff 00 01 00 00 ee ff c0 00 00 02 00"


@pytest.mark.parametrize("address", [PUBLIC, RANDOM])
def test_what_is_packed_is_unpacked(address: L2capAddress) -> None:
    assert unpack_address(pack_address(address)) == address


@pytest.mark.parametrize("data", [bytes(14), b"\x1f" + bytes(13), b"\x01" + pack_address(PUBLIC)[1:]])
def test_no_le_address(data: bytes) -> None:
    with pytest.raises(OSError, match="LE device"):
        unpack_address(data)


def test_an_error_of_the_system_is_raised() -> None:
    with socket.socket(socket.AF_UNIX) as other, pytest.raises(OSError, match="Invalid"):
        sockaddr.bind(other.fileno(), PUBLIC)


def test_closing_is_told_once() -> None:
    told: list[str] = []
    one = l2cap.ChannelSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.on_close = lambda: told.append("closed")
    one.close()
    one.close()
    assert told == ["closed"]
