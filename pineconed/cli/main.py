# SPDX-License-Identifier: Apache-2.0
"""The entry point of pineconectl and its list of commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from pineconed.cli.commands_change import add_peer, log_level, remove_peer
from pineconed.cli.commands_look import peers, snake, status, tree
from pineconed.cli.commands_name import address, routes, version
from pineconed.cli.failures import PROGRAM, ExitCode, failure_of
from pineconed.cli.settings import Settings, common_options


class SectionedGroup(click.Group):
    """A group that lists its commands by what they are for, in an order that makes sense to read."""

    SECTIONS = (
        ("See what is", ("status", "peers", "tree", "snake")),
        ("Find out", ("routes", "address", "version")),
        ("Change", ("add-peer", "remove-peer", "log-level")),
    )

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section with one line for each command."""
        for title, names in self.SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(90)) for name in names])


@click.group(cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@common_options(environment=True)
def pineconectl() -> None:
    r"""See and change what the pineconed daemon on this machine does.

    pineconed joins this machine to a mesh: every machine in it has an IPv6 address that begins with fd and
    is made from its public key, and reaches every other one through its neighbours, the peers.

    On a terminal the answers are tables; into a pipe they are plain text with nothing shortened; --json
    gives JSON. The options below may also stand after the command.

    \b
    Examples:
      pineconectl status                      is this node up, and what is its address?
      pineconectl peers                       which neighbours does it have, and how are they?
      pineconectl add-peer tcp://192.0.2.1:7070
      pineconectl peers --json | jq '.[].address'

    \b
    Exit codes:
      0 done    1 refused    2 wrong usage    3 no daemon answers    4 not permitted
    """


for _command in (status, peers, tree, snake, routes, address, version, add_peer, remove_peer, log_level):
    pineconectl.add_command(_command)


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
