# SPDX-License-Identifier: Apache-2.0
"""The listening Unix socket: never open to more people than asked, not even for a moment.

A stale socket is not this module's business: whoever starts the daemon looks whether anybody answers on
it, under the daemon's lock. Here a path that exists is an error.
"""

import errno
import grp
import os
import socket
from pathlib import Path
from typing import NamedTuple

from pineconed.admin.errors import AdminSocketError

MAX_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux."""

_REMEDIES = {
    errno.EADDRINUSE: "stop the other daemon, or choose another path with {setting}",
    errno.ENOENT: "create the directory, or choose another path with {setting}",
    errno.ENOTDIR: "choose another path with {setting}",
    errno.EACCES: "run as a user who may write there, or choose another path with {setting}",
    errno.EPERM: "run as a user who may do so, or leave the group out",
    errno.EROFS: "choose a path on a file system that can be written to",
}


class Role(NamedTuple):
    """What a socket is for, as messages name it, and the setting that says where it is."""

    name: str
    setting: str


ADMIN = Role("admin socket", "--admin-socket")
STATUS = Role("status socket", "admin.status_socket")


def open_listener(path: Path, mode: int, group: str | int | None, role: Role = ADMIN) -> socket.socket:
    """A listening, non-blocking Unix socket at `path` with these permission bits.

    `group` is a name or a number; None leaves the daemon's. The mode is set before the file exists and
    the group before anybody can connect. Raises AdminSocketError.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise AdminSocketError(
            f"the path of the {role.name} is longer than {MAX_PATH_BYTES} bytes: {path}",
            f"choose a shorter one with {role.setting}",
        )
    group_id = _group_id(group)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _publish(listener, path, mode, group_id)
    except OSError as error:
        listener.close()
        remedy = _REMEDIES.get(error.errno or 0, "choose another path with {setting}")
        raise AdminSocketError(
            f"cannot make the {role.name} {path}: {error.strerror}", remedy.format(setting=role.setting)
        ) from error
    return listener


def _publish(listener: socket.socket, path: Path, mode: int, group_id: int | None) -> None:
    os.fchmod(listener.fileno(), mode)  # bind() gives these bits, less the umask, to the file
    listener.bind(os.fspath(path))
    try:
        if group_id is not None:
            os.chown(path, -1, group_id)
        path.chmod(mode)
        listener.setblocking(False)
        listener.listen(64)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _group_id(group: str | int | None) -> int | None:
    if group is None or isinstance(group, int):
        return group
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise AdminSocketError(
            f"there is no group '{group}' for the admin socket", f"create it with 'groupadd {group}'"
        ) from None


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to now: (device, inode), None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def unlink_own(path: Path, own: tuple[int, int] | None) -> None:
    """Remove our socket, but never one that somebody else has put in its place."""
    if own is not None and identity(path) == own:
        path.unlink(missing_ok=True)
