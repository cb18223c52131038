# SPDX-License-Identifier: Apache-2.0
"""`add-peer`, `remove-peer`, `reload`, `log-level`: what changes while the daemon runs."""

from typing import cast

import click

from pineconed.admin.client import decode
from pineconed.admin.requests import AddPeer, SetLogLevel
from pineconed.admin.schema import AddedPeer, LevelName, LogLevel, Reloaded, RemovedPeers
from pineconed.cli.blocks import Line
from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.settings import Settings, common_options
from pineconed.cli.show import peer_name, show
from pineconed.cli.view_status import added_blocks, reloaded_blocks, removed_blocks


@click.command(
    "add-peer",
    cls=ExplainedCommand,
    examples=(
        "pineconectl add-peer tcp://192.0.2.1:4444",
        "pineconectl add-peer tcp://[2001:db8::1]:4444",
        "pineconectl add-peer --save tcp://gateway.example.org:4444",
        "pineconectl add-peer 'tls://192.0.2.1:4445?key=57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb'",
    ),
)
@click.argument("uri")
@click.option("--save", is_flag=True, help="Keep the peer: dial it after the next start too.")
@common_options()
@click.pass_obj
def add_peer(settings: Settings, uri: str, save: bool) -> None:
    """Dial another node from now on.

    URI is tcp://HOST:PORT or tls://HOST:PORT, an IPv6 address in brackets. After a ? may stand options, such
    as key= with the public key of the only node that shall answer. The daemon dials at once, and again with
    growing pauses whenever the peering is lost. The peer is forgotten when the daemon stops, unless it is
    saved: then the daemon keeps it in /var/lib/pineconed/peers.toml, a password in the URI included, until
    remove-peer takes it out.
    """
    show(settings, settings.client().post("/v1/peers", AddPeer(uri, save)), AddedPeer, added_blocks)


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
    configured URI. A saved peer is forgotten for good. A peer of the configuration file is back at the next
    start of the daemon, not at a reload. A peer that dials this node may come back by itself.
    """
    answer = settings.client().delete("/v1/peers", **peer_name(which))
    show(settings, answer, RemovedPeers, removed_blocks)


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl reload",
        "pineconectl reload --json | jq -r '.at_next_start[]'",
    ),
)
@common_options()
@click.pass_obj
def reload(settings: Settings) -> None:
    """Have the daemon read its configuration again and apply what has changed.

    Peers and listeners that are the same in the file as before stay as they are. When there is a mistake in
    the file nothing is changed, and each mistake is told with its line. Some settings cannot change while the
    daemon runs; those are named, and take effect at its next start. SIGHUP does the same, and tells the log.
    """
    answer = settings.client().post("/v1/reload")
    show(settings, answer, Reloaded, reloaded_blocks)
    if decode(answer, Reloaded).failed:
        click.get_current_context().exit(1)


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
