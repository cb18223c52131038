# SPDX-License-Identifier: Apache-2.0
"""The entry point of pineconectl and its list of commands."""

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from pineconed import __version__
from pineconed.cli.commands_change import add_peer, log_level, reload, remove_peer
from pineconed.cli.commands_look import ble, discovery, peers, snake, status, tree
from pineconed.cli.commands_make import completion, genpassword
from pineconed.cli.commands_name import address, routes, version
from pineconed.cli.commands_session import ping, sessions
from pineconed.cli.commands_wait import wait
from pineconed.cli.explained import ExplainedGroup
from pineconed.cli.failures import PROGRAM, ExitCode, failure_of
from pineconed.cli.settings import Settings, common_options


@click.group(
    cls=ExplainedGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples=(
        "pineconectl status                          what is this node's address, is it up?",
        "pineconectl peers                           who are its neighbours, how are they?",
        "pineconectl sessions                        whom does it talk to, encrypted?",
        "pineconectl add-peer tcp://192.0.2.1:4444   one neighbour more",
        "pineconectl peers --json | jq '.[].address'",
    ),
    sections={
        "See what is": (status, peers, discovery, ble, sessions, tree, snake),
        "Find out": (ping, wait, routes, address, version),
        "Change": (add_peer, remove_peer, reload, log_level),
        "Make": (genpassword, completion),
    },
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no daemon answers, 4 not permitted; "
    "of ping also 5 the route fails, 6 the session, 7 the peer; of wait 8 not in time.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@common_options(environment=True)
def pineconectl() -> None:
    """See and change what the pineconed daemon on this machine does.

    pineconed joins this machine to a network: every machine in it, a node, has an IPv6 address that begins
    with fd and is made from its public key, and reaches every other one through its neighbours, the peers.

    On a terminal the answers are tables; into a pipe they are plain text with nothing shortened; --json
    gives JSON. --json and --socket may stand before the command or after it.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are one line on standard error."""
    try:
        code = pineconectl.main(
            args=list(arguments), prog_name=PROGRAM, standalone_mode=False, obj=Settings()
        )
    except click.exceptions.NoArgsIsHelpError as error:
        _complain(error.format_message())
        return ExitCode.USAGE
    except click.Abort:
        return 130
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        _complain(failure[1])
        return failure[0]
    return code if isinstance(code, int) else ExitCode.DONE


def _complain(text: str) -> None:
    with suppress(BrokenPipeError):
        click.echo(text, err=True)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
