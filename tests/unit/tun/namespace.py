# SPDX-License-Identifier: Apache-2.0
"""A network namespace for the length of one call, so that no test touches the interfaces of the machine."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable

CLONE_NEWNET = 0x40000000


def in_new_namespace(check: Callable[[], None]) -> None:
    """Run the check in a thread of its own with a network of its own; whatever it raises is raised here.

    Programs and threads that the check starts are in the same network. It vanishes with the last of them.
    """
    raised: list[BaseException] = []

    def enter_and_check() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            ip("link", "set", "lo", "up")
            check()
        except BaseException as error:  # noqa: BLE001  (raised again in the thread of the test)
            raised.append(error)

    thread = threading.Thread(target=enter_and_check)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def ip(*arguments: str) -> str:
    """What the ip command prints in the network of this thread."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout
