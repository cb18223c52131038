# SPDX-License-Identifier: Apache-2.0
"""What a daemon that needs no more than TCP does not load."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("library", ["aiohttp", "python_socks", "bumble", "dbus_fast"])
def test_large_libraries_are_loaded_only_when_they_are_needed(library: str) -> None:
    program = (
        f"import sys, pineconed.daemon.app, pineconed.transport.connect; print({library!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
