# SPDX-License-Identifier: Apache-2.0
"""A peer that can misbehave: everything an honest one can send, and everything it should not.

`BadPeer` holds one connection to the node under test. After `join` it is an ordinary peering: it knows the
root that the node follows and keeps the connection alive from a thread, so that a test can take its time.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

from pineconed.signing import Ed25519Signer
from pineconed.wire.announcement import (
    Announcement,
    append_hop,
    decode_announcement,
    encode_announcement,
)
from pineconed.wire.frame import (
    HEADER_LENGTH,
    BootstrapFrame,
    FrameType,
    Keepalive,
    TreeAnnouncementFrame,
    decode_frame,
    encode_frame,
)
from pineconed.wire.handshake import CAPABILITIES, HANDSHAKE_LENGTH
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import encode_payload, sign_payload
from pineconed.wire.watermark import FULL

KEEPALIVE_SECONDS = 1.0


def handshake(
    signer: Ed25519Signer, version: int = 1, capabilities: int = CAPABILITIES, public_key: bytes | None = None
) -> bytes:
    """Build a handshake with any version and capabilities, properly signed (protocol section 2)."""
    head = struct.pack(">B3xI", version, capabilities) + (public_key or signer.public_key)
    return head + signer.sign(head)


def announcement_frame(announcement: Announcement) -> bytes:
    """Put an announcement into a frame."""
    return encode_frame(TreeAnnouncementFrame(encode_announcement(announcement)))


def own_announcement(signer: Ed25519Signer, sequence: int = 1, port: int = 1) -> Announcement:
    """Return what a node says that is its own root, to the peer on `port`."""
    return append_hop(Announcement(Root(signer.public_key, sequence), ()), port, signer)


def bootstrap_frame(signer: Ed25519Signer, root: Root, sequence: int | None = None) -> bytes:
    """Build a valid bootstrap of the node `signer` stands for."""
    payload = encode_payload(sign_payload(sequence or unix_ms(), root, signer))
    return encode_frame(BootstrapFrame(signer.public_key, FULL, payload))


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


def raw_frame(frame_type: int, body: bytes = b"", version: int = 0, length: int | None = None) -> bytes:
    """Build a frame from its parts, right or wrong; `length` overrides the true frame length."""
    whole = HEADER_LENGTH + len(body) if length is None else length
    return b"pine" + struct.pack(">BBBBH", version, frame_type, 0, 0, whole) + body


class BadPeer:
    """One connection to the node under test."""

    def __init__(self, connection: socket.socket, signer: Ed25519Signer | None = None) -> None:
        self.connection = connection
        self.connection.settimeout(30)
        self.signer = signer or Ed25519Signer(os.urandom(32))
        self.name = "{}:{}".format(*connection.getsockname()[:2])
        self.node_key = b""
        self.frames: list[bytes] = []
        self.closed_at: float | None = None
        self._reader: threading.Thread | None = None
        self._keepalives: threading.Thread | None = None
        self._quiet = threading.Event()
        self._sending = threading.Lock()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sending

    def send(self, data: bytes | bytearray) -> None:
        """Send bytes as they are; OSError when the node has hung up."""
        with self._sending:
            self.connection.sendall(data)

    def shake_hands(self) -> bytes:
        """Exchange valid handshakes and return the node's key."""
        self.send(handshake(self.signer))
        self.node_key = self.read_handshake()
        return self.node_key

    def read_handshake(self) -> bytes:
        """Read the node's handshake and return its key."""
        return self._read_exactly(HANDSHAKE_LENGTH)[8:40]

    def join(self) -> Self:
        """Become an ordinary peering: announce, keep alive; returns when the node has announced itself."""
        self.shake_hands()
        self.listen()
        self.send(announcement_frame(own_announcement(self.signer)))
        self.start_keepalives()
        self.wait(lambda: bool(self.announcements()), 5, "an announcement of the node")
        return self

    def start_keepalives(self) -> None:
        """Send a keepalive every second from a thread, until `stop_keepalives`."""
        self._keepalives = threading.Thread(target=self._keep_alive, daemon=True)
        self._keepalives.start()

    def stop_keepalives(self) -> None:
        self._quiet.set()
        if self._keepalives is not None:
            self._keepalives.join(5)

    def _keep_alive(self) -> None:
        while not self._quiet.wait(KEEPALIVE_SECONDS):
            with contextlib.suppress(OSError):
                self.send(encode_frame(Keepalive()))

    # -- receiving

    def listen(self) -> None:
        """Read frames from now on in a thread; they are collected in `frames`."""
        self._reader = threading.Thread(target=self._read_frames, daemon=True)
        self._reader.start()

    def _read_frames(self) -> None:
        try:
            while True:
                header = self._read_exactly(HEADER_LENGTH)
                length = int.from_bytes(header[8:10])
                self.frames.append(header + self._read_exactly(length - HEADER_LENGTH))
        except (OSError, EOFError):
            self.closed_at = time.monotonic()

    def _read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def of_type(self, frame_type: FrameType) -> list[bytes]:
        """Frames of one type received so far."""
        return [frame for frame in self.frames if frame[5] == frame_type]

    def announcements(self) -> list[Announcement]:
        """Announcements received so far."""
        found = [decode_frame(frame) for frame in self.of_type(FrameType.TREE_ANNOUNCEMENT)]
        return [
            decode_announcement(frame.payload) for frame in found if isinstance(frame, TreeAnnouncementFrame)
        ]

    @property
    def root(self) -> Root:
        """The root that the node announced last."""
        return self.announcements()[-1].root

    def wait_closed(self, timeout: float) -> float:
        """Wait until the node hangs up; seconds since this peer was made. AssertionError if it does not."""
        if self._reader is None:
            self.listen()
        self.wait(lambda: self.closed_at is not None, timeout, "the node to hang up")
        return (self.closed_at or 0) - self._began

    def wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
            time.sleep(0.02)

    @property
    def still_open(self) -> bool:
        return self.closed_at is None

    def close(self) -> None:
        self._quiet.set()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        for thread in (self._reader, self._keepalives):
            if thread is not None:
                thread.join(5)
