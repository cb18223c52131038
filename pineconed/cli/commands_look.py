# SPDX-License-Identifier: Apache-2.0
"""`status`, `peers`, `discovery`, `ble`, `tree`, `snake`: what the node is and knows."""

from collections.abc import Callable
from functools import partial

import click

from pineconed.admin.schema import Discovery, Peer, Snake, Status, Tree
from pineconed.admin.schema_ble import Ble
from pineconed.cli.blocks import Block
from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.output import on_terminal
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import fetch_snake, peer_filter, show
from pineconed.cli.view_ble import ble_blocks
from pineconed.cli.view_discovery import discovery_blocks
from pineconed.cli.view_peers import peers_long, peers_plain, peers_terminal
from pineconed.cli.view_status import status_blocks
from pineconed.cli.view_tree import snake_plain, snake_terminal, tree_plain, tree_terminal


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl status",
        "pineconectl status --json | jq -r .address",
    ),
)
@common_options()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show this node: its address, its key, how it is doing.

    The address is what other machines of the network reach this one by. The root, the parent and the coords
    tell its place in the tree by which the network finds ways: the root is the node with the highest key,
    the parent is the peer towards it, and the coords are the ports on the way from the root to here.
    The same root on all nodes means that they are one network. Users who may not control the daemon see all
    but the parent and the listeners.
    """
    show(settings, settings.look("/v1/status"), Status, status_blocks)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl peers",
        "pineconectl peers --long 3          everything about the peer on port 3",
        "pineconectl peers --state waiting   those that cannot be reached",
        "pineconectl peers --json | jq '.[] | select(.rtt_seconds > 0.1) | .address'",
    ),
)
@click.argument("which", metavar="[PORT|KEY|ADDRESS]", required=False)
@click.option("--long", "-l", "in_full", is_flag=True, help="Everything about each peer, one block each.")
@click.option(
    "--state",
    type=click.Choice(["up", "handshake", "connecting", "waiting"]),
    help="Only peers in this state.",
)
@common_options()
@click.pass_obj
def peers(settings: Settings, which: str | None, in_full: bool, state: str | None) -> None:
    """Show the neighbours: who they are, how fast, what failed.

    Each peering has a port, a number by which this node names it. IN and OUT are seen from this node;
    TRAFFIC is packets of users, PROTOCOL what keeps the network together. Configured peers that cannot
    be reached are listed with the last error and the time of the next try.
    """
    answer = settings.client().get("/v1/peers", state=state, **peer_filter(which))
    view: Callable[[list[Peer]], list[Block]] = peers_plain
    if in_full or on_terminal():
        drawn = peers_long if in_full else peers_terminal
        view = partial(drawn, selected=which is not None or state is not None)
    show(settings, answer, list[Peer], view)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl discovery",
        "pineconectl discovery --json | jq '.interfaces[] | select(.used) | .name'",
    ),
)
@common_options()
@click.pass_obj
def discovery(settings: Settings) -> None:
    """Show how nodes on the local network are found: on which interfaces, and with what success.

    Each node tells the others on its network of itself every two seconds, by a beacon. PEERS are those that
    were connected because of it, OTHERS HEARD those that were not: not yet, not allowed, or in vain. Where
    beacons go out and none come in, there is no other node, or something between drops UDP port 60606.
    """
    show(settings, settings.client().get("/v1/discovery"), Discovery, discovery_blocks)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl ble",
        "pineconectl ble --json | jq '.sightings[] | select(.fate == \"failed\") | .detail'",
    ),
)
@common_options()
@click.pass_obj
def ble(settings: Settings) -> None:
    """Show Bluetooth: the adapter, what it does, and the devices in reach.

    Listed are devices that advertise as nodes, the strongest signal first. Of two nodes the one whose key is
    lower dials the other: "has to dial" means that this node waits for it. A device address is no identity;
    most change every few minutes. Bluetooth is off unless ble.enabled is true in the configuration.
    """
    show(settings, settings.client().get("/v1/ble"), Ble, ble_blocks)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl tree",
        "pineconectl tree --json | jq '.path[].address'",
    ),
)
@common_options()
@click.pass_obj
def tree(settings: Settings) -> None:
    """Show the place of this node in the spanning tree.

    All nodes of a network form one tree, whose root is the node with the highest key. The way from the root
    to this node gives it coords, and packets for known coords travel along the tree. A peer whose ROOT is
    not "same" has not joined this tree yet: normal for seconds after a change.
    """
    view = tree_terminal if on_terminal() else tree_plain
    show(settings, settings.client().get("/v1/tree"), Tree, view)


@click.command(
    cls=ExplainedCommand,
    examples=("pineconectl snake", "pineconectl snake --limit 5000 --json | jq '.entries | length'"),
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=100,
    metavar="N",
    help="Show at most N rows of the table.  [default: 100]",
)
@common_options()
@click.pass_obj
def snake(settings: Settings, limit: int) -> None:
    """Show the paths of the virtual snake that lead through this node.

    The snake joins all nodes in the order of their keys. Every node keeps a path to the next lower key,
    and the nodes that the path crosses remember it for ten seconds at a time: these are the rows. A packet
    for a node whose coords are not known goes along these paths towards the key.
    """
    view = snake_terminal if on_terminal() else snake_plain
    show(settings, fetch_snake(settings.client(), limit), Snake, view)
