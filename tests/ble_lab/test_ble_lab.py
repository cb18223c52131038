# SPDX-License-Identifier: Apache-2.0
"""Two daemons that peer by Bluetooth, with the kernel's Bluetooth and BlueZ between them."""

import time
from typing import Any

import pytest

from tests.ble_lab.lab import results, root

PEERED_WITHIN = 15.0
"""Seconds from whatever happened."""


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Any]]:
    """What the machine tells of each stage."""
    root()
    began = time.monotonic()
    stages = {}
    for result in results():
        print(f"{time.monotonic() - began:6.1f} s  {result}")
        stages[result["stage"]] = result
    return stages


@pytest.mark.qemu
@pytest.mark.root
@pytest.mark.timeout(900)  # the first time, the machine's root is made
def test_two_nodes_peer_by_bluetooth_whatever_happens(told: dict[str, dict[str, Any]]) -> None:
    for stage in ("start", "powered on", "bluetoothd restarted", "daemon restarted"):
        assert told[stage]["seconds"] <= PEERED_WITHIN, told
    for stage in ("ping", "ping after power", "ping after bluetoothd", "ping after restart"):
        assert told[stage]["received"] >= 4, told
    assert told["bulk"]["rate"] > 10_000, told
    assert told["powered off"]["adapter"]["state"] == "off"
    assert told["bluetoothd killed"]["adapter"]["state"] == "no-service"
    assert told["end"]["status"] == [0, 0]
    assert told["end"]["devices"] <= 2
