# SPDX-License-Identifier: Apache-2.0
"""pineconectl as a process of its own: in a pipe or on a terminal of a given width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from pineconed.cli.main import main; main()"]

_CODES = re.compile(r"\x1b\[[0-9;]*m")


def environment(socket_path: Path | str, **changes: str) -> dict[str, str]:
    """A small environment that finds the package and the socket."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "PINECONED_ADMIN_SOCKET": str(socket_path),
        "LANG": "C.UTF-8",
        **changes,
    }


def piped(socket_path: Path | str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run with output into pipes."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(socket_path, **changes),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def on_terminal(socket_path: Path, width: int, *arguments: str, **changes: str) -> str:
    """What a terminal of this width is sent, with its codes."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 50, width, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(socket_path, TERM="xterm-256color", **changes),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    received = _read_all(leader)
    process.wait(30)
    return received.decode().replace("\r\n", "\n")


def _read_all(descriptor: int) -> bytes:
    received = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the last process has closed its side
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return received
        received += chunk


def without_codes(text: str) -> str:
    """The text that a person sees."""
    return _CODES.sub("", text)
