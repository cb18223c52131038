# SPDX-License-Identifier: Apache-2.0
"""`routes`, `address`, `version`: questions with one answer."""

import click

from pineconed.admin.schema import Route
from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import node_text, show, show_address, show_version
from pineconed.cli.view_status import route_blocks


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl routes fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
        "pineconectl routes 57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb",
    ),
)
@click.argument("to", metavar="KEY|ADDRESS")
@common_options()
@click.pass_obj
def routes(settings: Settings, to: str) -> None:
    """Tell where a packet for a node would go from here, and why.

    Give the node's overlay address (fd...) or its public key. The answer is the decision of this moment
    and of this node alone: the next one decides for itself. A packet goes "nowhere" when no node is known
    that is closer to the key than this one; whoever sent it is told that there is no route.
    """
    answer = settings.client().get("/v1/routes", to=node_text(to))
    show(settings, answer, Route, route_blocks)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl address",
        "pineconectl address 57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb",
        "ping $(pineconectl address 57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb)",
        "pineconectl address fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
    ),
)
@click.argument("of", metavar="[KEY|ADDRESS]", required=False)
@common_options()
@click.pass_obj
def address(settings: Settings, of: str | None) -> None:
    """Turn a public key into its address, or an address into the key.

    The address is fd and the first 15 of the key's 32 bytes, so this works without a daemon; but from an
    address alone only those 15 bytes (30 digits) can be told. If a daemon runs and knows the node, the
    whole key is printed. Without an argument: the address of this node.
    """
    show_address(settings, of)


@click.command(
    cls=ExplainedCommand,
    examples=("pineconectl version", "pineconectl version --json | jq -r .daemon.version"),
)
@common_options()
@click.pass_obj
def version(settings: Settings) -> None:
    """Show the versions of pineconectl and of the running daemon."""
    show_version(settings)
