# SPDX-License-Identifier: Apache-2.0
"""Snapshots of Bluetooth, turned into the rows of the schema."""

from typing import cast

from pineconed.admin import schema_ble
from pineconed.admin.schema import MAX_ROWS
from pineconed.admin.sources_ble import AdapterFacts, BleSource, SightingFacts

_RANDOM = 2


def ble_row(ble: BleSource) -> schema_ble.Ble:
    """The adapter, what it does, and who was seen."""
    now = ble.snapshot()
    return schema_ble.Ble(
        enabled=ble.enabled,
        adapter=_adapter_row(now.report) if now.report else None,
        advertising=now.advertising,
        scanning=now.scanning,
        psm=now.psm,
        error=now.error,
        sightings=[_sighting_row(row) for row in now.sightings[:MAX_ROWS]] if ble.enabled else [],
        counters=dict(sorted(ble.counters.items())) if ble.enabled else {},
    )


def _adapter_row(report: AdapterFacts) -> schema_ble.BleAdapter:
    return schema_ble.BleAdapter(
        name=report.name,
        address=report.address,
        state=cast(schema_ble.AdapterState, str(report.state)),
        reason=report.detail or None,
    )


def _sighting_row(row: SightingFacts) -> schema_ble.BleSighting:
    return schema_ble.BleSighting(
        device=row.address.text,
        random=row.address.kind == _RANDOM,
        rssi_dbm=row.rssi,
        key_prefix=row.prefix.hex() if row.prefix is not None else None,
        fate=cast(schema_ble.SightingFate, str(row.fate)),
        detail=row.detail or None,
        heard_seconds=row.heard_ago,
        next_try_seconds=row.next_try,
    )
