# SPDX-License-Identifier: Apache-2.0
"""L2CAP LE credit-based channels (Bluetooth Core 5.4, volume 3, part A, 10.1) by the kernel's sockets.

BlueZ offers none over D-Bus. A socket is bound to the adapter's own address, which chooses the adapter.
None of this needs rights: PSMs from 0x80 on are free for everybody.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from pineconed.transport.ble.address import BleAddress
from pineconed.transport.ble.backend import BleError, Channel
from pineconed.transport.ble.bluez import sockaddr
from pineconed.transport.ble.bluez.sockaddr import AF_BLUETOOTH, L2capAddress

SOL_BLUETOOTH = 274
BT_SNDMTU = 12
BT_RCVMTU = 13

RECEIVE_MTU = 2048
"""The largest SDU that is taken. The kernel grants credits for as much: less makes a channel slow."""

MAX_WRITE = 490
"""Bytes in one SDU that is sent: with its length it fills two of the packets of 247 bytes that nearly all
controllers have. An SDU is sent as a whole, so a large one would not fit what may be unsent."""

SEND_BUFFER = 20480
"""Bytes of kernel memory, of which the kernel makes twice as much: the socket is writable while half of
that is free, which are some 4 KiB in packets of 247 bytes, each of which costs 1280."""

BACKLOG = 8

PAUSE = 1.0
"""Seconds without taking channels after the kernel gave none."""

DECOYS = 3
"""See `dial`; as many channels as BlueZ opens for EATT, by default."""

REASONS = {
    errno.ECONNREFUSED: "the device refuses the channel (nobody listens on this PSM)",
    errno.EHOSTDOWN: "the device does not answer",
    errno.ETIMEDOUT: "the device does not answer",
    errno.EHOSTUNREACH: "the adapter cannot reach the device",
    errno.ENETDOWN: "the adapter is powered off",
    errno.EADDRNOTAVAIL: "the adapter is gone",
    errno.EACCES: "the device wants pairing",
}


class ChannelSocket(socket.socket):
    """The socket of a channel. `on_close`: called once, when its holder has closed it."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the channel."""
        super().close()
        told, self.on_close = self.on_close, None
        if told is not None:
            told()


def why_no_sockets() -> str:
    """Why this process cannot have Bluetooth sockets, and what to do; empty if it can."""
    try:
        socket.socket(AF_BLUETOOTH, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EPERM, errno.EACCES):
            return (
                f"the system allows no Bluetooth sockets here ({error.strerror}): install the drop-in"
                " pineconed-bluetooth.conf, and run outside of containers and network namespaces"
            )
        return f"cannot make a Bluetooth socket: {error.strerror}"
    return ""


class Listener:
    """Takes channels on a dynamic PSM, `psm`, until `close`. BleError when it cannot.

    `accept` gets each channel at once.
    """

    def __init__(self, own: BleAddress, accept: Callable[[Channel], None]) -> None:
        self._accept = accept
        self._socket = _new_socket(own)
        try:
            self._socket.listen(BACKLOG)
            self.psm = sockaddr.own_address(self._socket.fileno()).psm
        except OSError as error:
            self._socket.close()
            raise _explained(error) from error
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Take no more."""
        if self._paused is not None:
            self._paused.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._take)

    def _pause(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._paused = self._loop.call_later(PAUSE, self._resume)

    def _take(self) -> None:
        """Take one: the loop calls again while there are more."""
        try:
            descriptor, remote = sockaddr.accept(self._socket.fileno())
        except BlockingIOError:
            return  # it was gone before it was taken
        except OSError:
            self._pause()  # there are no descriptors, or the adapter goes: the loop would call on and on
            return
        taken = ChannelSocket(AF_BLUETOOTH, socket.SOCK_STREAM, 0, fileno=descriptor)
        try:
            channel = _channel(taken, remote.device, self.psm)
        except OSError:
            taken.close()
            return
        self._accept(channel)


async def dial(own: BleAddress, remote: BleAddress, psm: int) -> Channel:
    """Open a channel. Takes as long as the kernel lets it; cancelling it closes it. BleError.

    When the BlueZs of both sides have opened EATT channels to each other at the same time, the kernel of one
    may hold channels that the other does not know. It then refuses the numbers (CIDs) that the other takes
    for its next ones: the lowest free. So a refused channel is tried once more, while decoys have those
    numbers.
    """
    to = L2capAddress(remote, psm)
    try:
        return await _dial(own, to)
    except ConnectionRefusedError:
        pass
    except OSError as error:
        raise _explained(error) from error
    with contextlib.ExitStack() as decoys:
        try:
            for _ in range(DECOYS):
                decoy = decoys.enter_context(_new_socket(own))
                with contextlib.suppress(BlockingIOError):
                    sockaddr.connect(decoy.fileno(), to)
            return await _dial(own, to)
        except OSError as error:
            raise _explained(error) from error


async def _dial(own: BleAddress, to: L2capAddress) -> Channel:
    dialling = _new_socket(own)
    try:
        await _connect(dialling, to)
        return _channel(dialling, to.device, to.psm)
    except BaseException:
        dialling.close()
        raise


async def _connect(dialling: ChannelSocket, remote: L2capAddress) -> None:
    descriptor = dialling.fileno()
    try:
        sockaddr.connect(descriptor, remote)
        return
    except BlockingIOError:
        pass
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _finish, done)
    try:
        await done
    finally:
        loop.remove_writer(descriptor)
    number = dialling.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _new_socket(own: BleAddress) -> ChannelSocket:
    made = None
    try:
        made = ChannelSocket(AF_BLUETOOTH, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
        sockaddr.bind(made.fileno(), L2capAddress(own, 0))
        made.setsockopt(SOL_BLUETOOTH, BT_RCVMTU, RECEIVE_MTU.to_bytes(2, "little"))
    except OSError as error:
        if made is not None:
            made.close()
        raise _explained(error) from error
    return made


def _channel(connected: ChannelSocket, remote: BleAddress, psm: int) -> Channel:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    mtu_out = _mtu(connected, BT_SNDMTU)
    return Channel(
        socket=connected,
        remote=remote,
        psm=psm,
        max_write=min(mtu_out, MAX_WRITE),
        mtu_in=_mtu(connected, BT_RCVMTU),
        mtu_out=mtu_out,
    )


def _mtu(connected: ChannelSocket, option: int) -> int:
    return int.from_bytes(connected.getsockopt(SOL_BLUETOOTH, option, 2), "little")


def _explained(error: OSError) -> BleError:
    if isinstance(error, BleError):
        return error
    return BleError(REASONS.get(error.errno or 0) or f"no channel: {error.strerror or error}")
