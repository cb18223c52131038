# SPDX-License-Identifier: Apache-2.0
"""What `discovery` prints: the network interfaces, and what LAN discovery makes of each."""

from pineconed.admin import schema
from pineconed.cli.blocks import Block, Cell, Column, Line, Table, cell
from pineconed.cli.cells import totals_note
from pineconed.cli.units import NONE

_OFF = "LAN discovery is off (multicast.enabled, or --no-multicast)."
_NO_INTERFACE = "No network interface."

_COLUMNS = (
    Column("name", "INTERFACE", keep=100),
    Column("used", "USED", keep=95),
    Column("peers", "PEERS", keep=90, right=True),
    Column("waiting", "OTHERS HEARD", keep=85, right=True),
    Column("beacons_sent", "BEACONS OUT", keep=70, right=True),
    Column("beacons_heard", "BEACONS IN", keep=75, right=True),
    Column("addresses", "FROM", keep=50),
    Column("reason", "REMARK", keep=80, least=20, folds=True),
)


def discovery_blocks(discovery: schema.Discovery) -> list[Block]:
    """A table of the interfaces, and the totals in a line below it."""
    if not discovery.enabled:
        return [Line(_OFF)]
    rows = [_row(interface) for interface in discovery.interfaces]
    return [Table(_COLUMNS, rows, empty=_NO_INTERFACE), *totals_note(discovery.counters)]


def _row(interface: schema.LanInterface) -> list[Cell]:
    used = interface.used
    return [
        cell(interface.name),
        cell("yes" if used else "no", style="green" if used else ""),
        *(
            cell(number, f"{number:,}" if used else NONE)
            for number in (
                interface.peers,
                interface.waiting,
                interface.beacons_sent,
                interface.beacons_heard,
            )
        ),
        cell(",".join(interface.addresses) or None, ", ".join(interface.addresses) or NONE),
        cell(interface.reason, interface.reason or "", "yellow" if used and interface.reason else ""),
    ]
