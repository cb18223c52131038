# SPDX-License-Identifier: Apache-2.0
"""`struct sockaddr_l2` of the kernel, and the three calls that take it.

Python's own bind() and connect() cannot express the kind of an LE address before 3.14, and some builds of
Python have no Bluetooth at all; so the calls are those of the C library.
"""

import ctypes
import errno
import os
import struct
from typing import NamedTuple

from pineconed.transport.ble.address import AddressKind, BleAddress

AF_BLUETOOTH = 31
SOCK_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
"""For accept4; on Linux the flags of sockets are those of files."""

_FIELDS = struct.Struct("<HH6sHBx")
"""Family, PSM and address (both little-endian), CID 0, kind of the address, padding."""

_libc = ctypes.CDLL(None, use_errno=True)


class L2capAddress(NamedTuple):
    """One end of a channel. psm: 0 for a dynamic one."""

    device: BleAddress
    psm: int


def pack_address(address: L2capAddress) -> bytes:
    """The structure for an address."""
    device, psm = address
    octets = bytes.fromhex(device.text.replace(":", ""))[::-1]
    return _FIELDS.pack(AF_BLUETOOTH, psm, octets, 0, device.kind)


def unpack_address(data: bytes) -> L2capAddress:
    """The address in a structure. OSError if it is not one of an LE channel."""
    family, psm, octets, _, kind = _FIELDS.unpack(data[: _FIELDS.size])
    if family != AF_BLUETOOTH or kind not in tuple(AddressKind):
        raise OSError(errno.EAFNOSUPPORT, "not the address of an LE device")
    return L2capAddress(BleAddress(octets[::-1].hex(":").upper(), AddressKind(kind)), psm)


def bind(descriptor: int, address: L2capAddress) -> None:
    """Give a socket its own address. OSError."""
    _check(_libc.bind(descriptor, pack_address(address), _FIELDS.size))


def connect(descriptor: int, address: L2capAddress) -> None:
    """Connect a socket. For a non-blocking one this ends with BlockingIOError, and goes on. OSError."""
    _check(_libc.connect(descriptor, pack_address(address), _FIELDS.size))


def accept(descriptor: int) -> tuple[int, L2capAddress]:
    """Take a channel, as accept4(2) does: a non-blocking descriptor and who is at its other end. OSError."""
    data = ctypes.create_string_buffer(_FIELDS.size)
    size = ctypes.c_uint32(_FIELDS.size)
    accepted = _check(_libc.accept4(descriptor, data, ctypes.byref(size), SOCK_CLOEXEC_NONBLOCK))
    return accepted, _address_or_close(accepted, data.raw)


def own_address(descriptor: int) -> L2capAddress:
    """The address that a socket was bound to. OSError."""
    data = ctypes.create_string_buffer(_FIELDS.size)
    size = ctypes.c_uint32(_FIELDS.size)
    _check(_libc.getsockname(descriptor, data, ctypes.byref(size)))
    return unpack_address(data.raw)


def _address_or_close(descriptor: int, data: bytes) -> L2capAddress:
    try:
        return unpack_address(data)
    except OSError:
        os.close(descriptor)
        raise


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
