# SPDX-License-Identifier: Apache-2.0
"""From sections of the configuration to what the parts of the daemon are given."""

from pineconed.daemon.config import BleSection, PeeringSection
from pineconed.peering.admission import Admission
from pineconed.transport.ble.bluetooth import BleSettings
from pineconed.transport.dialer import DialSettings
from pineconed.transport.gate import AcceptLimits
from pineconed.transport.uri_options import parse_key


def admission(peering: PeeringSection) -> Admission:
    """Who may peer."""
    return Admission(
        frozenset(map(parse_key, peering.allowed_keys)),
        frozenset(map(parse_key, peering.blocked_keys)),
        peering.max_peers,
    )


def accept_limits(peering: PeeringSection) -> AcceptLimits:
    """Bounds on inbound connections."""
    return AcceptLimits(
        half_open=peering.half_open,
        half_open_per_source=peering.half_open_per_source,
        links_per_source=peering.links_per_source,
        accepts_per_second=peering.accepts_per_second,
        accepts_burst=peering.accepts_burst,
        total_accepts_per_second=peering.total_accepts_per_second,
        total_accepts_burst=peering.total_accepts_burst,
    )


def dial_settings(peering: PeeringSection) -> DialSettings:
    """How often peers are dialled."""
    return DialSettings(peering.backoff_min, peering.backoff_max)


def ble_settings(ble: BleSection) -> BleSettings:
    """What Bluetooth is to do; none of the rest counts while it is off."""
    return BleSettings(True, ble.adapter, ble.advertise, ble.scan) if ble.enabled else BleSettings()
