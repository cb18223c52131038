# SPDX-License-Identifier: Apache-2.0
"""`wait`: for scripts and units that need the network."""

import click
import msgspec

from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.output import write_json, write_text
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import node_text
from pineconed.cli.waiting import STAGES, wait_for


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl wait                       until this machine has joined, at most a minute",
        "pineconectl wait --timeout 0           has it?",
        "pineconectl wait --for fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8 --timeout 1",
    ),
)
@click.option(
    "--for",
    "goal",
    metavar="up|peer|tree|KEY|ADDRESS",
    default="tree",
    shell_complete=lambda _context, _option, begun: [goal for goal in STAGES if goal.startswith(begun)],
    help="up: the daemon answers. peer: a peering is up. tree: one is, and both ends are in one tree, so the "
    "network can be reached. KEY or ADDRESS: this node answers an echo.  [default: tree]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.0, 86400.0),
    default=60.0,
    metavar="SECONDS",
    help="Give up after so long; 0 looks once.  [default: 60]",
)
@common_options()
@click.pass_obj
def wait(settings: Settings, goal: str, timeout: float) -> None:
    """Wait until this machine has joined its network, or another node can be reached.

    It may be started before the daemon. The exit code is 0 as soon as it is so, 3 if no daemon answered until
    the time was over, and 8 if it did, but is not as far; the message says what is missing. Every user may
    wait; an echo of another node is for those who may use the admin socket.
    """
    what = goal if goal in STAGES else _node(goal)
    seconds = round(wait_for(settings, what, timeout), 3)
    if settings.json:
        write_json(msgspec.json.encode({"for": what, "waited_seconds": seconds}))
    else:
        write_text(f"{STAGES.get(what, f'{what} answers')} after {seconds:.1f} s\n")


def _node(goal: str) -> str:
    try:
        return node_text(goal)
    except click.UsageError as error:
        raise click.BadParameter(
            f"{goal!r} is none of up, peer and tree, and no node: {error.message}", param_hint="'--for'"
        ) from None
