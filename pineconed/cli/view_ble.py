# SPDX-License-Identifier: Apache-2.0
"""What `ble` prints: the adapter, and the devices that were seen."""

from pineconed.admin.schema_ble import Ble, BleSighting
from pineconed.cli.blocks import Block, Cell, Column, Fact, Facts, Line, Table, cell
from pineconed.cli.cells import span_cell, totals_note, yes_no
from pineconed.cli.units import NONE, duration_text, number_plain

_OFF = "Bluetooth is off (ble.enabled in the configuration)."
_NOBODY = "No device that advertises as a node was seen."

_WORDS = {
    "new": "not read yet",
    "reading": "being read",
    "dialling": "being dialled",
    "peered": "peered",
    "awaited": "has to dial",
    "own": "this node",
    "too-old": "too old",
    "not-allowed": "not allowed",
    "failed": "failed",
    "refused": "refused",
}
_STYLES = {"peered": "green", "failed": "red", "refused": "red", "not-allowed": "yellow", "too-old": "yellow"}

_COLUMNS = (
    Column("device", "DEVICE", keep=100),
    Column("rssi_dbm", "DBM", keep=80, right=True),
    Column("key_prefix", "KEY BEGINS WITH", keep=60),
    Column("fate", "BECAME", keep=95),
    Column("heard_seconds", "HEARD", keep=70, right=True),
    Column("next_try_seconds", "NEXT TRY", keep=75, right=True),
    Column("detail", "REMARK", keep=90, least=20, folds=True),
)


def ble_blocks(ble: Ble) -> list[Block]:
    """What the adapter does, a table of the devices, and the totals in a line below it."""
    if not ble.enabled:
        return [Line(_OFF)]
    rows = [_row(sighting) for sighting in ble.sightings]
    return [
        Facts(_facts(ble), heading="Bluetooth"),
        Table(_COLUMNS, rows, empty=_NOBODY),
        *totals_note(ble.counters),
    ]


def _facts(ble: Ble) -> list[Fact]:
    adapter = ble.adapter
    state = adapter.state if adapter else "starting"
    name = f"{adapter.name} ({adapter.address})" if adapter and adapter.address else adapter and adapter.name
    return [
        Fact("adapter", "adapter", cell(adapter.name if adapter else None, name or NONE)),
        Fact("state", "state", cell(state, style="green" if state == "ready" else "red")),
        Fact("reason", "reason", cell(adapter.reason if adapter else None)),
        Fact("advertising", "advertising", yes_no(ble.advertising)),
        Fact("scanning", "scanning", yes_no(ble.scanning)),
        Fact("psm", "PSM", cell(ble.psm, NONE if ble.psm is None else f"{ble.psm:#x}")),
        Fact("error", "error", cell(ble.error, style="red" if ble.error else "")),
    ]


def _row(sighting: BleSighting) -> list[Cell]:
    wait = sighting.next_try_seconds
    return [
        cell(sighting.device),
        cell(sighting.rssi_dbm),
        cell(sighting.key_prefix, sighting.key_prefix[:16] if sighting.key_prefix else NONE),
        cell(sighting.fate, _WORDS[sighting.fate], _STYLES.get(sighting.fate, "")),
        span_cell(sighting.heard_seconds, " ago"),
        cell(number_plain(wait), NONE if wait is None else f"in {duration_text(wait)}"),
        cell(sighting.detail, sighting.detail or ""),
    ]
