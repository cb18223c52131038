# SPDX-License-Identifier: Apache-2.0
"""The node's private key in its file, or handed over by systemd as a credential of the name `node.key`.

One line, the 32-byte Ed25519 seed as 64 hexadecimal digits.

Whoever has the seed is the node, so a file that others can read is refused, as is one that somebody else
could have put there. A new file appears under its name only when it is complete and on the disk.
"""

import contextlib
import os
import pwd
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pineconed.daemon.durable_file import create_file
from pineconed.daemon.errors import StartError

SEED_LENGTH = 32
CREDENTIAL = "node.key"
_FORM = re.compile(rb"\s*([0-9A-Fa-f]{64})\s*")
_SEE_UNIT = "see LoadCredential= in 'systemctl cat pineconed', and the file that it names"
_MAX_FILE = 1024  # bytes; a key file has 65


class NodeKey(NamedTuple):
    """A node's seed and the open file that it came from.

    The descriptor stays open for the daemon's life, because the lock on the file hangs on it.
    """

    seed: bytes
    descriptor: int
    created: bool


def open_key(path: Path) -> NodeKey:
    """Read the key in `path`; make a new one if there is no such file.

    StartError when the file is not one that only its owner can read, or holds no key.
    """
    created = False
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        created = _create_unless_there(path)
        descriptor = _open(path)
    try:
        _check_owner(os.fstat(descriptor), path)
        return NodeKey(_parse(os.read(descriptor, _MAX_FILE), path), descriptor, created)
    except BaseException:
        os.close(descriptor)
        raise


def find_credential(environment: Mapping[str, str]) -> Path | None:
    """The key that systemd hands over (LoadCredential= in systemd.exec(5)); None if it does not."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory, CREDENTIAL)
    try:
        path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        pass  # whoever opens it tells what is wrong
    return path


def open_credential(path: Path) -> NodeKey:
    """Read the key that systemd hands over; it is never written. StartError when there is none in it.

    systemd itself sees to it that only the service can read it, by an access list that looks as if the
    group could.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise StartError(f"cannot read the credential {path}: {error.strerror}; {_SEE_UNIT}") from error
    try:
        status = os.fstat(descriptor)
        form = _FORM.fullmatch(os.read(descriptor, _MAX_FILE)) if stat.S_ISREG(status.st_mode) else None
        if form is None:
            raise StartError(
                f"the credential {path} does not hold one line of 64 hexadecimal digits; {_SEE_UNIT}"
            )
        if status.st_mode & stat.S_IRWXO:
            raise StartError(
                f"the credential {path} is open to every user, so the key may be known; {_SEE_UNIT}"
            )
        return NodeKey(bytes.fromhex(form[1].decode()), descriptor, created=False)
    except BaseException:
        os.close(descriptor)
        raise


def new_seed() -> bytes:
    """A fresh seed from the kernel's random source."""
    return secrets.token_bytes(SEED_LENGTH)


def key_line(seed: bytes) -> str:
    """The text of a key file."""
    return f"{seed.hex()}\n"


def write_key(path: Path, seed: bytes) -> None:
    """Write a new key file, mode 0600. FileExistsError if the name is taken; it is never overwritten."""
    create_file(path, key_line(seed).encode())


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StartError(
            f"cannot read the key file {path}: {error.strerror}; run as the user that owns it, "
            f"give it to this one (chown {_user(os.geteuid())} {path}), or name another file with --key-file"
        ) from error


def _create_unless_there(path: Path) -> bool:
    """Whether this call made the file; not if another daemon was faster."""
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
        write_key(path, new_seed())
    except FileExistsError:
        return False
    except OSError as error:
        raise StartError(
            f"cannot create the key file {path}: {error.strerror}; make its directory writable for this "
            "user, or name another file with --key-file"
        ) from error
    return True


def _check_owner(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StartError(f"the key file {path} is not a regular file; name another with --key-file")
    if status.st_uid not in {0, os.geteuid()}:
        raise StartError(
            f"the key file {path} belongs to user {_user(status.st_uid)}, who could know or change the key; "
            "if it is the service's, run that (systemctl start pineconed); else name another file with "
            f"--key-file, or make it yours: chown {_user(os.geteuid())} {path}"
        )
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise StartError(
            f"the key file {path} is open to others (mode {mode:04o}), so the key may be known; "
            f"chmod 600 {path}, or better: remove it and get a new key and address"
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _parse(raw: bytes, path: Path) -> bytes:
    form = _FORM.fullmatch(raw)
    if form is None:
        raise StartError(
            f"the key file {path} does not hold one line of 64 hexadecimal digits; restore it from your "
            "copy, or remove it to get a new key and address at the next start"
        )
    return bytes.fromhex(form[1].decode())
