# SPDX-License-Identifier: Apache-2.0
"""One daemon per key and per admin socket.

The key file itself is locked, because its directory may be read-only, and because the lock then holds
between containers that share the file, where process numbers and abstract sockets would not. The admin
socket's directory is writable anyway, so a lock file lies beside the socket. Both are flock(2) locks: the
kernel drops them with the process, however it ends.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from pathlib import Path

from pineconed.admin.listener import ADMIN, Role
from pineconed.daemon.errors import StartError

_NO_LOCKS_HERE = frozenset({errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


def lock_key(descriptor: int, path: Path) -> bool:
    """Lock the open key file for as long as the descriptor lives.

    False where the file system knows no locks (some network ones). StartError when another daemon has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StartError(
            f"another pineconed{_holder(descriptor)} runs with the key {path}; stop it first, or give this "
            "one its own with --key-file"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return False
    return True


class SocketClaim:
    """The right to bind a Unix socket at `path`, from `claim` to `release`."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def lock_path(self) -> Path:
        """The lock file beside the socket."""
        return _lock_path(self.path)

    def release(self) -> None:
        """Remove the lock file; the socket is its server's to remove."""
        self.lock_path.unlink(missing_ok=True)
        os.close(self._descriptor)


def claim_socket(path: Path, role: Role = ADMIN) -> SocketClaim:
    """Make sure that `path` is ours to bind: lock it, and remove a socket on which nobody answers.

    StartError when somebody does, when there is something else than a socket, or the directory cannot
    be used.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o755)
        descriptor = _open_lock(path, role)
    except OSError as error:
        raise StartError(_unusable(path, role, error)) from error
    try:
        _clear_stale(path, role)
    except BaseException:
        os.close(descriptor)
        raise
    return SocketClaim(path, descriptor)


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _unusable(path: Path, role: Role, error: OSError) -> str:
    return (
        f"cannot create the {role.name} {path}: {error.strerror}; make its directory writable for this "
        f"user, or choose another place with {role.setting}, or none with {role.setting} none"
    )


def _open_lock(path: Path, role: Role) -> int:
    """The locked lock file. One that its last holder has just unlinked does not count: try again."""
    lock_path = _lock_path(path)
    while True:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(descriptor, lock_path):
                return descriptor
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StartError(_taken(path, role, f"another pineconed{holder}")) from error
        os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _taken(path: Path, role: Role, who: str) -> str:
    return f"{who} uses the {role.name} {path}; stop it first, or choose another with {role.setting}"


def _clear_stale(path: Path, role: Role) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a Unix socket is connected at once or not at all
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not _remove_socket(path):
                raise StartError(_not_a_socket(path, role)) from None
            return
        except PermissionError as error:
            raise StartError(_unusable(path, role, error)) from error
        except OSError as error:  # alive but busy (EAGAIN), or not of our kind
            raise StartError(_taken(path, role, "another program")) from error
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    raise StartError(_taken(path, role, f"another program{_process(pid)}"))


def _not_a_socket(path: Path, role: Role) -> str:
    return f"{path} is not a socket; move it away, or choose another path with {role.setting}"


def _remove_socket(path: Path) -> bool:
    """Remove the socket at `path`; False, and nothing removed, if it is something else."""
    try:
        if not stat.S_ISSOCK(path.stat(follow_symlinks=False).st_mode):
            return False
        path.unlink()
    except FileNotFoundError:
        pass
    return True


def _process(pid: int) -> str:
    """A process number for a sentence; the kernel tells 0 for one outside this container."""
    return f" (process {pid})" if pid > 0 else " (outside this container)"


def _holder(descriptor: int) -> str:
    """Who holds the flock on an open file, as /proc/locks has it; empty if it does not tell."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        rows = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return ""
    for row in rows:
        match row.split():
            case [_, "FLOCK", _, "WRITE", pid, place, *_] if place == file:
                return _process(int(pid))
    return ""
