# SPDX-License-Identifier: Apache-2.0
"""Where a frame goes next: by the tree toward coords, or along the snake toward a key.

Both are deterministic: where the reference leaves a choice to chance, the lower port comes first.
"""

from bisect import bisect_left, bisect_right

from pineconed.clock import NEVER
from pineconed.dataplane.table import PACKED_PORT, ForwardingTable, pack_coords
from pineconed.wire.coordinates import Coords, distance

LOCAL = 0
"""The port of this node itself."""

SnakeHop = tuple[int | None, bytes, int]
"""The port (0: this node, None: none) and the frame's new watermark: key and sequence."""


def next_hop_tree(table: ForwardingTable, destination: Coords, from_port: int) -> int | None:
    """The port toward `destination` (protocol section 6); 0 when the coords are ours, None for none.

    The live peer closest to the destination, of those that follow our root and are closer than we are; not
    the one that the frame came from. Among peerings equally close the lowest port tells the node, and the
    best peering to that node (type, then order) is used.
    """
    if destination == table.coords:
        return LOCAL
    if table.is_stale:
        table.rebuild()
    best_distance = distance(table.coords, destination)
    length, packed = len(destination), pack_coords(destination)
    best: int | None = None
    best_key, best_rank = b"", (0, 0)
    for port, row, announcement in table.tree_peers:
        if port == from_port:
            continue
        # How many ports have to agree for a distance that matters; the comparison of that prefix costs the
        # same for every depth, and so what a frame costs has a bound that strangers cannot raise.
        coords = announcement.coords
        common = (len(coords) + length - best_distance + (row.public_key != best_key) + 1) // 2
        if common > 0:
            if not packed.startswith(row.packed[: PACKED_PORT * common]) or common > len(coords):
                continue
        else:
            common = 0
        while common < length and common < len(coords) and coords[common] == destination[common]:
            common += 1
        steps = len(coords) + length - 2 * common
        if steps < best_distance:
            best, best_distance = port, steps
            best_key, best_rank = row.public_key, (row.peer_type, announcement.order)
        elif steps == best_distance and best is not None and row.public_key == best_key:
            rank = (row.peer_type, announcement.order)
            if rank < best_rank:
                best, best_rank = port, rank
    return best


def next_hop_snake(
    table: ForwardingTable, destination_key: bytes, bootstrap: bool, watermark: tuple[bytes, int], now: float
) -> SnakeHop:
    """The next hop toward `destination_key` for a frame with `watermark` (protocol section 5).

    `now` is in the seconds of the entries' expiry times. With `bootstrap` the frame looks for the key above
    its destination, else for the destination itself or the closest key above it. The caller checks whether
    the new watermark is acceptable.
    """
    return find_snake_hop(table, destination_key, bootstrap, watermark, now)[:3]


def find_snake_hop(
    table: ForwardingTable, destination_key: bytes, bootstrap: bool, watermark: tuple[bytes, int], now: float
) -> tuple[int | None, bytes, int, float]:
    """As `next_hop_snake`, and the time until which the answer stands while the table does not change."""
    own_key = table.own_key
    if destination_key == own_key and not bootstrap:
        return LOCAL, watermark[0], watermark[1], NEVER
    if table.is_stale:
        table.rebuild()
    # Steps 2 and 3: ourselves, or the way to the root.
    best: bytes = own_key
    port: int | None = None if bootstrap else LOCAL
    parent = table.live_parent
    if parent:
        root_key = table.root.public_key
        if own_key < destination_key < root_key or destination_key == own_key:
            best, port = root_key, parent
    # Steps 3 to 5 and 7: the destination, or the closest key above it, among all that announcements name.
    keys = table.tree_keys
    position = bisect_left(keys, destination_key)
    exact = position < len(keys) and keys[position] == destination_key
    if exact and bootstrap:
        position += 1
        exact = False
    if position < len(keys) and (exact or keys[position] < best):
        best = keys[position]
        ports = table.offers[best]
        port = parent if ports >> parent & 1 else (ports & -ports).bit_length() - 1
    nearest = table.nearest.get(best)
    if nearest is not None:
        port = nearest
    elif port and best in table.direct:
        port = table.prefer_direct(best, port)
    if exact:
        return port, best, 0, NEVER
    # Steps 6 and 7: the same among the entries, as far as the frame's watermark allows.
    entry_keys = table.entry_keys
    position = (bisect_right if bootstrap else bisect_left)(entry_keys, destination_key)
    unusable_from = position
    highest, sequence = watermark
    found: tuple[int | None, bytes, int, float] = port, best, 0, NEVER
    while position < len(entry_keys):
        key = entry_keys[position]
        if key > highest or (key >= best and key != destination_key):
            break
        entry = table.entries.get(key)
        if entry is None or not table.is_usable(entry, now):
            position += 1
            continue
        if key == highest and 0 != entry.sequence < sequence:
            break
        port = entry.source_port
        if key in table.direct:
            port = table.prefer_direct(key, port)
        found = port, key, entry.sequence, entry.expires_at
        break
    del entry_keys[unusable_from:position]
    return found
