# SPDX-License-Identifier: Apache-2.0
"""Listeners for channels, on Unix sockets in the place of the kernel's Bluetooth."""

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import Channel
from pineconed.transport.ble.bluez import l2cap, sockaddr
from pineconed.transport.ble.bluez.l2cap import ChannelSocket, Listener
from pineconed.transport.ble.bluez.sockaddr import L2capAddress
from tests.unit.waiting import until

OWN = BleAddress("5C:F3:70:12:34:56", AddressKind.PUBLIC)
OTHER = L2capAddress(BleAddress("C0:FF:EE:00:00:01", AddressKind.RANDOM), 0x80)


class Kernel:
    """Takes channels as long as `failures` is empty, and counts how often it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.failures: list[int] = []
        self.asked = 0
        self.listening = ChannelSocket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.listening.bind(self.path)

    def accept(self, descriptor: int) -> tuple[int, L2capAddress]:
        assert descriptor == self.listening.fileno()
        self.asked += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "as the test wants it")
        accepted, _ = self.listening.accept()
        return accepted.detach(), OTHER


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(tmp_path / "channels")
    monkeypatch.setattr(l2cap, "_new_socket", lambda _: made.listening)
    monkeypatch.setattr(l2cap, "_mtu", lambda *_: 512)
    monkeypatch.setattr(sockaddr, "own_address", lambda _: L2capAddress(OWN, 0x80))
    monkeypatch.setattr(sockaddr, "accept", made.accept)
    return made


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.ENOMEM, errno.EBADFD])
def test_what_cannot_be_taken_is_tried_again_after_a_pause(
    kernel: Kernel, reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(l2cap, "PAUSE", 0.05)
    kernel.failures = [reason] * 3

    async def check() -> None:
        taken: list[Channel] = []
        listener = Listener(OWN, taken.append)
        began = asyncio.get_running_loop().time()
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(kernel.path)
            await until(lambda: taken)
        assert asyncio.get_running_loop().time() - began >= 3 * 0.05
        assert (taken[0].remote, taken[0].psm, kernel.asked) == (OTHER.device, 0x80, 4)
        taken[0].socket.close()
        listener.close()

    asyncio.run(check())


def test_a_listener_that_pauses_can_be_closed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l2cap, "PAUSE", 0.01)
    kernel.failures = [errno.EMFILE]

    async def check() -> None:
        listener = Listener(OWN, lambda _: None)
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(kernel.path)
            await until(lambda: kernel.asked)
            listener.close()
            listener.close()
            await asyncio.sleep(0.03)  # in which the pause would be over
        assert kernel.asked == 1

    asyncio.run(check())
