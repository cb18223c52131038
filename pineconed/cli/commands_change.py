# SPDX-License-Identifier: Apache-2.0
"""`add-peer`, `remove-peer`, `log-level`: the few things that can be changed while the daemon runs."""

from typing import cast

import click

from pineconed.admin.schema import AddedPeer, AddPeer, LevelName, LogLevel, RemovedPeers, SetLogLevel
from pineconed.cli.blocks import Line
from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import peer_name, show
from pineconed.cli.view_status import added_blocks, removed_blocks


@click.command(
    "add-peer",
    cls=ExplainedCommand,
    examples=(
        "pineconectl add-peer tcp://192.0.2.1:4444",
        "pineconectl add-peer tcp://[2001:db8::1]:4444",
        "pineconectl add-peer tcp://gateway.example.org:4444",
        "pineconectl add-peer 'tls://192.0.2.1:4444?key=57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb'",
    ),
)
@click.argument("uri")
@common_options()
@click.pass_obj
def add_peer(settings: Settings, uri: str) -> None:
    """Dial another node from now on.

    URI is tcp://HOST:PORT or tls://HOST:PORT, an IPv6 address in brackets. After a ? may stand options, such
    as key= with the public key of the only node that shall answer. The daemon dials at once, and again with
    growing pauses whenever the peering is lost. It is forgotten when the daemon stops; what shall stay
    belongs under "connect" in /etc/pineconed/pineconed.toml.
    """
    show(settings, settings.client().post("/v1/peers", AddPeer(uri)), AddedPeer, added_blocks)


@click.command(
    "remove-peer",
    cls=ExplainedCommand,
    examples=(
        "pineconectl remove-peer 3",
        "pineconectl remove-peer tcp://192.0.2.1:4444",
        "pineconectl remove-peer fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8",
    ),
)
@click.argument("which", metavar="PORT|KEY|ADDRESS|URI")
@common_options()
@click.pass_obj
def remove_peer(settings: Settings, which: str) -> None:
    """Close a peering and dial that peer no longer.

    Name it by its port, by the node's key or overlay address (all peerings to that node), or by its
    configured URI. A peer of the configuration file is back at the next start of the daemon. A peer that
    dials this node may come back by itself.
    """
    answer = settings.client().delete("/v1/peers", **peer_name(which))
    show(settings, answer, RemovedPeers, removed_blocks)


@click.command(
    "log-level",
    cls=ExplainedCommand,
    examples=("pineconectl log-level", "pineconectl log-level debug"),
)
@click.argument(
    "level", metavar="[LEVEL]", type=click.Choice(["debug", "info", "warning", "error"]), required=False
)
@common_options()
@click.pass_obj
def log_level(settings: Settings, level: str | None) -> None:
    """Show or set how much the daemon logs.

    LEVEL is debug, info, warning or error. The change lasts until the daemon stops; the level at the start
    is in /etc/pineconed/pineconed.toml. The log is read with: journalctl -u pineconed
    """
    client = settings.client()
    if level is None:
        answer = client.get("/v1/log-level")
    else:
        answer = client.put("/v1/log-level", SetLogLevel(cast(LevelName, level)))
    show(settings, answer, LogLevel, lambda now: [Line(now.level)])
