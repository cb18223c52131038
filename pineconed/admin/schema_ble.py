# SPDX-License-Identifier: Apache-2.0
"""What the admin API answers about Bluetooth; see `schema`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from pineconed.admin.schema import Count, Seconds

KeyPrefix = Annotated[
    str, Meta(pattern="^[0-9a-f]{36}$", description="First 18 bytes of a key, in hexadecimal digits.")
]
AdapterState = Literal["ready", "missing", "off", "blocked", "no-service", "failed"]
SightingFate = Literal[
    "new",
    "reading",
    "dialling",
    "peered",
    "awaited",
    "own",
    "too-old",
    "not-allowed",
    "failed",
    "refused",
]


class BleAdapter(Struct, frozen=True, kw_only=True):
    """The Bluetooth adapter."""

    name: Annotated[str, Meta(description="Such as hci0; as configured while there is none.")]
    address: Annotated[str | None, Meta(description="Its own device address, if known.")]
    state: AdapterState
    reason: Annotated[str | None, Meta(description="Why it is not ready; null if it is.")]


class BleSighting(Struct, frozen=True, kw_only=True):
    """A device that was seen advertising as a node."""

    device: Annotated[str, Meta(description="Device address; most change every few minutes.")]
    random: Annotated[bool, Meta(description="The address was made up, and does not belong to a chip.")]
    rssi_dbm: Annotated[int | None, Meta(description="How strongly it was last received, if known.")]
    key_prefix: Annotated[
        KeyPrefix | None,
        Meta(description="How the key begins that the device claims; null until it was read."),
    ]
    fate: Annotated[SightingFate, Meta(description="What became of it.")]
    detail: Annotated[str | None, Meta(description="The same in words, where there is more to say.")]
    heard_seconds: Annotated[Seconds, Meta(description="Since its last advertisement.")]
    next_try_seconds: Annotated[Seconds | None, Meta(description="Until it may be connected again.")]


class Ble(Struct, frozen=True, kw_only=True):
    """Bluetooth: the adapter, what it does, and who was seen."""

    enabled: bool
    adapter: Annotated[BleAdapter | None, Meta(description="Null while Bluetooth is off, or starts.")]
    advertising: Annotated[bool, Meta(description="Other nodes can see this one now.")]
    scanning: Annotated[bool, Meta(description="This node looks for others now.")]
    psm: Annotated[Count | None, Meta(description="The L2CAP number on which channels are taken.")]
    error: Annotated[str | None, Meta(description="What is wanted and cannot be done just now, and why.")]
    sightings: Annotated[list[BleSighting], Meta(description="The strongest first.")]
    counters: Annotated[dict[str, Count], Meta(description="What became of sightings, reads and dials.")]
