# SPDX-License-Identifier: Apache-2.0
"""How pineconectl fails: what is wrong and the remedy on standard error, and an exit code per kind.

That is one line, but for several mistakes in a configuration.
"""

from enum import IntEnum

import click

from pineconed.admin import schema
from pineconed.admin.client import ClientError, NoDaemonError, NotPermittedError, RefusedError
from pineconed.cli.echoing import UnansweredError
from pineconed.cli.output import OutputError
from pineconed.cli.units import printable
from pineconed.cli.waiting import NotInTimeError

PROGRAM = "pineconectl"


class ExitCode(IntEnum):
    """What the exit code tells a script."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NO_DAEMON = 3
    NOT_PERMITTED = 4
    ROUTE_FAILS = 5
    SESSION_FAILS = 6
    PEER_FAILS = 7
    NOT_IN_TIME = 8


_PING_FAILURES: dict[schema.PingFailure, ExitCode] = {
    "route": ExitCode.ROUTE_FAILS,
    "session": ExitCode.SESSION_FAILS,
    "peer": ExitCode.PEER_FAILS,
}


def failure_of(error: Exception) -> tuple[ExitCode, str] | None:
    """The exit code and the line for an error; None for one that is a mistake in the program."""
    if isinstance(error, click.ClickException):
        return ExitCode.USAGE, _line(error.format_message(), _usage_remedy(error))
    return _client_failure(error)


def _client_failure(error: Exception) -> tuple[ExitCode, str] | None:
    if isinstance(error, OutputError):
        return ExitCode.REFUSED, _line(f"cannot write the answer: {error}", "look at where it goes")
    if not isinstance(error, ClientError):
        return None
    code = ExitCode.REFUSED
    if isinstance(error, NoDaemonError):
        code = ExitCode.NO_DAEMON
    elif isinstance(error, NotPermittedError) or _is_forbidden(error):
        code = ExitCode.NOT_PERMITTED
    elif isinstance(error, NotInTimeError):
        code = ExitCode.NOT_IN_TIME
    elif isinstance(error, UnansweredError):
        code = _PING_FAILURES[error.failed]
    if isinstance(error, RefusedError) and error.code == "bad_config":
        lines = [*str(error).splitlines(), error.remedy]
        return code, "\n".join(printable(f"{PROGRAM}: {line}") for line in lines)
    return code, _line(str(error), error.remedy)


def _is_forbidden(error: ClientError) -> bool:
    return isinstance(error, RefusedError) and error.code == "not_permitted"


def _usage_remedy(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if isinstance(context, click.Context) else PROGRAM
    return f"see '{command} --help'"


def _line(message: str, remedy: str) -> str:
    text = " ".join(message.split()).rstrip(".")
    # After a question, such as click's "Did you mean 'status'?", a semicolon would be one mark too many.
    end = f" ({remedy})" if text.endswith("?") else f"; {remedy}"
    return printable(f"{PROGRAM}: {text}{end}")
