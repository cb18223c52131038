# SPDX-License-Identifier: Apache-2.0
"""Which backend drives an adapter. Their libraries are imported here, and only when Bluetooth is wanted."""

import importlib
import sys
from typing import cast

from pineconed.transport.ble.backend import Backend, BleError

BUMBLE = "bumble:"
"""What the name of an adapter begins with that BlueZ does not drive; a transport of Bumble follows."""


def open_backend(adapter: str) -> Backend:
    """A backend for what the setting `ble.adapter` says. BleError when its library is missing."""
    if adapter.startswith(BUMBLE):
        return _load("bumble", "BumbleBackend", adapter.removeprefix(BUMBLE))
    return _load("bluez", "BluezBackend", adapter)


def _load(module: str, name: str, adapter: str) -> Backend:
    try:
        found = importlib.import_module(f"pineconed.transport.ble.{module}")
    except ModuleNotFoundError as error:
        raise BleError(
            f"the Python package {error.name} is not installed; "
            f"'python3 -m pip --python {sys.executable} install {error.name}' adds it"
        ) from error
    return cast("Backend", getattr(found, name)(adapter))
