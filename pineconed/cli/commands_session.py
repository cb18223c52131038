# SPDX-License-Identifier: Apache-2.0
"""`sessions`, `ping`: the encrypted sessions with other nodes, and whether they work."""

from collections.abc import Callable
from functools import partial

import click

from pineconed.admin.schema import Sessions
from pineconed.cli.blocks import Block
from pineconed.cli.echoing import PingPlan, run_pings
from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.output import on_terminal
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import fetch_sessions, node_text, show
from pineconed.cli.view_sessions import sessions_long, sessions_plain, sessions_terminal


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl sessions",
        "pineconectl sessions --long fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
        "pineconectl sessions --json | jq '.sessions[] | select(.in_clear) | .address'",
    ),
)
@click.argument("which", metavar="[KEY|ADDRESS]", required=False)
@click.option("--long", "-l", "in_full", is_flag=True, help="Everything about each session, one block each.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=100,
    metavar="N",
    help="Show at most N sessions.  [default: 100]",
)
@common_options()
@click.pass_obj
def sessions(settings: Settings, which: str | None, in_full: bool, limit: int) -> None:
    """Show the encrypted sessions with other nodes.

    Two nodes that exchange packets hold a session: only they can read what is in it. It begins with the
    first packet, renews its keys every two minutes and ends when nothing was sent for three. PATH tells
    whether packets go by the tree (the coords of the node are known) or along the snake. Nodes that the
    configuration lists under overlay.bare_ipv6 have no session: their packets travel in the clear.
    """
    node = None if which is None else node_text(which)
    view: Callable[[Sessions], list[Block]] = sessions_plain
    if in_full or on_terminal():
        view = partial(sessions_long if in_full else sessions_terminal, selected=which is not None)
    show(settings, fetch_sessions(settings.client(), node, limit), Sessions, view)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl ping fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
        "pineconectl ping -c 1 57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb",
        "pineconectl ping -c 100 -i 0.2 fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
    ),
)
@click.argument("to", metavar="KEY|ADDRESS")
@click.option(
    "--count",
    "-c",
    type=click.IntRange(1, 100),
    default=4,
    metavar="N",
    help="Send N echoes, at most 100.  [default: 4]",
)
@click.option(
    "--interval",
    "-i",
    type=click.FloatRange(0.0, 3600.0),
    default=1.0,
    metavar="S",
    help="Wait S seconds from one to the next.  [default: 1]",
)
@click.option(
    "--timeout",
    "-W",
    type=click.FloatRange(0.1, 30.0),
    default=5.0,
    metavar="S",
    help="Wait S seconds for each, the handshake included.  [default: 5]",
)
@common_options()
@click.pass_obj
def ping(settings: Settings, to: str, count: int, interval: float, timeout: float) -> None:
    """Ask another node for an echo inside the encrypted session with it.

    Unlike ping(8) this needs no network interface and no permission of the other machine's firewall: the
    daemons talk to each other. A session is begun if there is none. When no answer comes it is told what
    fails: the route (this node knows no way), the session (nobody with this address answers the handshake)
    or the peer (there is a session, but the node is silent). The exit code is 0 if any echo came back, else
    5, 6 or 7 for the route, the session or the peer. Ctrl-C ends it early and sums up.
    """
    run_pings(settings, PingPlan(node_text(to), count, interval, timeout))
