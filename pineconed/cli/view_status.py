# SPDX-License-Identifier: Apache-2.0
"""What `status`, `routes`, `add-peer`, `remove-peer`, `reload` and `version` print."""

from collections.abc import Sequence

from pineconed.admin import schema
from pineconed.cli.blocks import Block, Cell, Fact, Facts, Line, Note, cell, short_key
from pineconed.cli.cells import span_cell
from pineconed.cli.units import coords_text

_METHODS = {
    "local": "stays here: it is for this node",
    "tree": "by the tree: the coords of the destination are known",
    "snake": "by the snake: towards the key",
    "none": "nowhere: it would be dropped",
}

_NOT_CONFIGURED: frozenset[schema.PeerSource | None] = frozenset({None, "multicast", "bluetooth"})
"""Where peers come from that nobody dials for the operator: they came by themselves, or were found."""


def status_blocks(status: schema.Status) -> list[Block]:
    """The node as a whole."""
    facts = [
        Fact("version", "version", cell(status.version)),
        Fact("address", "address", cell(status.address, style="bold")),
        Fact("public_key", "public key", cell(status.public_key), short_key),
        Fact("uptime_seconds", "up for", span_cell(status.uptime_seconds)),
        Fact("peers", "peers", _peers(status)),
        Fact("peers_down", "", cell(status.peers_down)),
        Fact("tun", "interface", cell(status.tun, None if status.tun else "none: a pure router")),
        *_inbound(status.inbound),
        *_full(
            status,
            Fact("listeners", "listens at", cell(",".join(status.listeners), _listeners(status.listeners))),
        ),
        Fact("coords", "coords", cell(coords_text(status.coords))),
        Fact("root.public_key", "root", _root(status), short_key),
        Fact("root.sequence", "sequence", cell(status.root.sequence)),
        *_full(status, Fact("parent", "parent", _parent(status), short_key)),
    ]
    blocks: list[Block] = [Facts(facts)]
    for name, heading, counts in (
        ("drops", "Dropped since the start", status.drops),
        ("counters", "Counts", status.counters),
    ):
        if any(counts.values()):
            blocks.append(_counts(name, heading, counts))
    if status.reduced:
        blocks.append(Note("Root and those who may control the daemon see more."))
    return blocks


def _full(status: schema.Status, fact: Fact) -> list[Fact]:
    """A fact that only the admin socket tells."""
    return [] if status.reduced else [fact]


def _peers(status: schema.Status) -> Cell:
    down = f", {status.peers_down} down" if status.peers_down else ""
    style = "green" if status.peers and not down else "yellow"
    return cell(status.peers, f"{status.peers} up{down}", style)


def _inbound(inbound: schema.Inbound | None) -> list[Fact]:
    """Whether the overlay reaches the services of this machine."""
    if inbound is None:
        return []
    text = f"{inbound.state}: {inbound.explanation}"
    style = "green" if inbound.state == "filtered" else "yellow"
    return [
        Fact("inbound.state", "inbound", cell(inbound.state, text, style)),
        Fact("inbound.explanation", "", cell(inbound.explanation)),
    ]


def _listeners(listeners: Sequence[str]) -> str:
    return ", ".join(listeners) or "nowhere: this node only dials"


def _root(status: schema.Status) -> Cell:
    own = status.root.public_key == status.public_key
    return cell(status.root.public_key, "this node" if own else None)


def _parent(status: schema.Status) -> Cell:
    return cell(status.parent, None if status.parent else "none: this node is the root")


def _counts(name: str, heading: str, counts: dict[str, int]) -> Facts:
    rows = [(cause, count) for cause, count in sorted(counts.items()) if count]
    return Facts(
        [
            Fact(f"{name}.{cause}", cause.replace("_", " "), cell(count, f"{count:,}"))
            for cause, count in rows
        ],
        heading,
    )


def route_blocks(route: schema.Route) -> list[Block]:
    """Where a frame for a node would leave, and why."""
    forwarded = route.next_port is not None
    next_hop = f"port {route.next_port}, {route.next_address}"
    facts = [
        Fact("address", "to", cell(route.address, style="bold")),
        _destination(route),
        Fact("method", "goes", cell(route.method, _METHODS[route.method], _route_style(route))),
        Fact("next_port", "next hop" if forwarded else "", cell(route.next_port, next_hop)),
        Fact("next_key", "its key" if forwarded else "", cell(route.next_key), short_key),
        Fact("next_address", "", cell(route.next_address)),
        Fact("explanation", "why", cell(route.explanation)),
    ]
    return [Facts(facts)]


def _destination(route: schema.Route) -> Fact:
    key = route.destination_key
    if route.exact:
        return Fact("destination_key", "key", cell(key), short_key)
    return Fact("destination_key", "key", cell(key, f"{key[:30]}… (all that an address tells)"))


def _route_style(route: schema.Route) -> str:
    return "yellow" if route.method == "none" else "green"


def added_blocks(added: schema.AddedPeer) -> list[Block]:
    """A peer is dialled from now on."""
    kept = "It is kept until 'pineconectl remove-peer' takes it out."
    forgotten = "The daemon forgets it when it stops; to keep it, say --save."
    outlook = kept if added.source == "saved" else forgotten
    return [
        Line(f"dialling {added.uri}"),
        Note(f"See 'pineconectl peers' for how it goes. {outlook}"),
    ]


def reloaded_blocks(reloaded: schema.Reloaded) -> list[Block]:
    """What a reload changed, and what it could not."""
    lines = [*reloaded.applied, *(f"failed: {sentence}" for sentence in reloaded.failed)]
    lines += [f"takes effect at the next start: {setting}" for setting in reloaded.at_next_start]
    return [Line(line) for line in lines or ["nothing has changed"]]


def removed_blocks(removed: schema.RemovedPeers) -> list[Block]:
    """What a removal ended, one line each, and what will undo it."""
    blocks: list[Block] = [Line(_removed_text(peer)) for peer in removed.removed]
    if any(peer.source == "file" for peer in removed.removed):
        blocks.append(Line("It is in the configuration file and so is back when the daemon starts again."))
    if any(peer.source == "flag" for peer in removed.removed):
        blocks.append(Line("It stands behind --connect and so is back when the daemon starts again."))
    if any(peer.source in _NOT_CONFIGURED for peer in removed.removed):
        blocks.append(Note("A peer that dials this node, or was found by it, may come back."))
    return blocks


def _removed_text(peer: schema.RemovedPeer) -> str:
    parts = []
    if peer.port is not None:
        parts.append(f"closed port {peer.port} to {peer.public_key}")
    if peer.source not in _NOT_CONFIGURED:
        parts.append(f"no longer dialling {peer.uri}")
    return ", ".join(parts) or f"closed {peer.uri}"
