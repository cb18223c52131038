# SPDX-License-Identifier: Apache-2.0
"""Files that only their owner may read, and of which nobody sees a half, not even after a power cut.

The content goes to a draft beside the file first, which then gets the name of the file.
"""

import os
import secrets
from pathlib import Path

_MODE = 0o600


def create_file(path: Path, content: bytes) -> None:
    """Make a file. FileExistsError if the name is taken, also by another process meanwhile."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, content)
        os.link(draft, path, follow_symlinks=False)
    finally:
        draft.unlink(missing_ok=True)
    _flush_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Make a file or put it in the place of the old one; to be called by one process at a time."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # of a process that was killed
    try:
        _write(draft, content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _write(draft: Path, content: bytes) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
