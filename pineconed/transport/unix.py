# SPDX-License-Identifier: Apache-2.0
"""Peerings over Unix sockets: between containers of one host that share a directory, and in tests.

Who may connect is up to the permissions of the directory and of the socket file, which only its owner and
group may use. All that come in count as one source.
"""

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from pineconed.transport.gate import Visit
from pineconed.transport.listener import ListenError
from pineconed.transport.service import Intake
from pineconed.transport.stream import IOV_MAX, PolledStream
from pineconed.transport.tcp import ConnectError, plain_reason
from pineconed.transport.tcp_place import BACKLOG
from pineconed.wire.buffer import Buffer

MODE = 0o660
"""Permissions of the socket file of a listener."""

SOURCE = "unix"
"""What the gate's limits count by: one source for all."""

SEND_BUFFER = 32 * 1024
"""SO_SNDBUF; the kernel doubles it, and takes more while a quarter of that is unread."""

_SO_PASSRIGHTS = 83
_RETRY_SECONDS = 0.1


class UnixStream(PolledStream):
    """A connected Unix stream socket as a stream."""

    kind = "unix"
    __slots__ = ()

    def __init__(self, connected: socket.socket, remote: str) -> None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().__init__(connected, remote)

    def send(self, buffers: Sequence[Buffer]) -> int:
        """One system call for all pieces, at most 1,024 of them."""
        if len(buffers) == 1:
            return self._socket.send(buffers[0])
        return self._socket.sendmsg(buffers[:IOV_MAX])


def refuse_descriptors(sock: socket.socket) -> None:
    """Have the kernel refuse descriptors that the other end sends along (SCM_RIGHTS in unix(7)).

    Nobody here wants them, and the kernel closes them in our name when it drops them, which can hold up the
    loop: to close a TCP socket takes as long as its owner said (SO_LINGER). Linux before 6.16 has no such
    option. Streams have it from the listener that they came by.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


async def reach_unix(path: str, timeout: float) -> UnixStream:
    """Connect to the listener with this socket file. ConnectError when nobody takes it within `timeout`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    refuse_descriptors(sock)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout):
            while not _connected(sock, path):  # noqa: ASYNC110  (the kernel tells nobody when there is room)
                await asyncio.sleep(_RETRY_SECONDS)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise ConnectError(f"{path}: {_plain(error)}") from error
        raise
    return UnixStream(sock, path)


def _connected(sock: socket.socket, path: str) -> bool:
    """Whether the listener took us; when its backlog is full the kernel does not queue us, but says so."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


class UnixPlace:
    """A path, at which there is a socket file from `open` to `remove`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._own: tuple[int, int] | None = None

    async def open(self) -> list[socket.socket]:
        """One listening socket. A file that is there is replaced if it is a socket on which nobody answers.

        ListenError when there is something else, somebody answers, or the directory cannot be used.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._clear_stale()
            refuse_descriptors(sock)
            os.fchmod(sock.fileno(), MODE)  # bind() gives the file these bits, less the umask
            sock.bind(os.fspath(self._path))
            self._own = _identity(self._path)
            self._path.chmod(MODE)
            sock.setblocking(False)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            self.remove()
            if isinstance(error, ListenError):
                raise
            raise ListenError(f"cannot listen on {self._path}: {_remedy(error)}") from error
        return [sock]

    def remove(self) -> None:
        """Remove the socket file, unless somebody else has put another in its place."""
        if self._own is not None and _identity(self._path) == self._own:
            self._path.unlink(missing_ok=True)
        self._own = None

    def describe(self, sockaddr: str) -> str:
        """The path of a socket that has one."""
        return sockaddr

    def source(self, _: str) -> str:
        """The same for all."""
        return SOURCE

    def tune(self, accepted: socket.socket) -> None:
        """There are no options to set."""

    def _clear_stale(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ListenError(
                f"cannot listen on {self._path}: there is a file that is no socket; move it away"
            )
        if self._answers():
            raise ListenError(
                f"cannot listen on {self._path}: another program does; stop it, or take another path"
            )
        self._path.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a Unix socket is connected at once or not at all
            try:
                probe.connect(os.fspath(self._path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except PermissionError:
                raise
            except OSError:  # alive but busy, or a socket of another kind
                return True
        return True


class UnixService:
    """Hands over what came in at a `UnixPlace`, and removes its file at the end."""

    def __init__(self, intake: Intake, place: UnixPlace) -> None:
        self._intake = intake
        self._place = place

    def serve(self, accepted: socket.socket, _: str, visit: Visit) -> None:
        """Attach the stream at once."""
        self._intake.attach(UnixStream(accepted, _process(accepted)), visit)

    def reload(self) -> None:
        """There are no files."""

    async def close(self) -> None:
        """Remove the socket file."""
        self._place.remove()


def _process(connected: socket.socket) -> str:
    """Who is at the other end; the kernel tells 0 for a process outside this container."""
    pid, _, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"process {pid}" if pid else "a process outside this container"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _plain(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such socket"
    if error.errno == errno.EACCES:
        return "not permitted; the socket is for its owner and group"
    return plain_reason(error)


def _remedy(error: OSError) -> str:
    hints = {
        errno.ENOENT: "its directory is not there; make it",
        errno.ENOTDIR: "its directory is no directory; take another path",
        errno.EACCES: "not permitted; let this user write to its directory, or take another path",
        errno.EROFS: "the file system cannot be written to; take another path",
    }
    return hints.get(error.errno or 0) or plain_reason(error)
