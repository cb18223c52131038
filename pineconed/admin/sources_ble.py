# SPDX-License-Identifier: Apache-2.0
"""What the admin API asks of Bluetooth, as protocols; see `sources`."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RadioFacts(Protocol):
    """What the radio adds to a peering."""

    @property
    def rssi(self) -> int | None:
        """Signal strength in dBm."""

    @property
    def psm(self) -> int:
        """Where the channel was taken."""

    @property
    def mtu_in(self) -> int | None:
        """Bytes of a message to this node."""

    @property
    def mtu_out(self) -> int | None:
        """Bytes of a message from this node."""


class AdapterFacts(Protocol):
    """The Bluetooth adapter."""

    @property
    def state(self) -> str:
        """One of `schema_ble.AdapterState`."""

    @property
    def name(self) -> str:
        """As the stack calls it."""

    @property
    def address(self) -> str | None:
        """Its own, if known."""

    @property
    def detail(self) -> str:
        """Why it is not ready, empty if it is."""


class DeviceAddress(Protocol):
    """A Bluetooth device address."""

    @property
    def text(self) -> str:
        """Six octets."""

    @property
    def kind(self) -> int:
        """1: public, 2: random."""


class SightingFacts(Protocol):
    """A device that was seen."""

    @property
    def address(self) -> DeviceAddress:
        """Its address."""

    @property
    def rssi(self) -> int | None:
        """Signal strength in dBm."""

    @property
    def prefix(self) -> bytes | None:
        """How the key begins that it claims."""

    @property
    def fate(self) -> str:
        """One of `schema_ble.SightingFate`."""

    @property
    def detail(self) -> str:
        """More words on that, or none."""

    @property
    def heard_ago(self) -> float:
        """Seconds since its last advertisement."""

    @property
    def next_try(self) -> float | None:
        """Seconds until it may be connected again."""


class BleFacts(Protocol):
    """Bluetooth at one moment."""

    @property
    def report(self) -> AdapterFacts | None:
        """The adapter, None before anything is known of it."""

    @property
    def advertising(self) -> bool:
        """Whether others can see this node."""

    @property
    def scanning(self) -> bool:
        """Whether this node looks for others."""

    @property
    def psm(self) -> int | None:
        """Where channels are taken."""

    @property
    def error(self) -> str | None:
        """What cannot be done."""

    @property
    def sightings(self) -> Sequence[SightingFacts]:
        """The strongest first."""


class BleSource(Protocol):
    """Bluetooth."""

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What became of sightings, reads and dials."""

    def radio(self, link: int) -> RadioFacts | None:
        """What it adds to a link, None for those of others."""

    def snapshot(self) -> BleFacts:
        """The adapter, what it does, and who was seen."""
