# SPDX-License-Identifier: Apache-2.0
"""The options that every command takes, before its name or after it: `--json` and `--socket`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from pineconed.admin.client import (
    DEFAULT_SOCKET,
    DEFAULT_STATUS_SOCKET,
    AdminClient,
    NoDaemonError,
    NotPermittedError,
)

SOCKET_VARIABLE = "PINECONED_ADMIN_SOCKET"

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    """What the common options say, wherever they stood."""

    json: bool = False
    socket: str = DEFAULT_SOCKET

    def client(self, timeout: float = 10.0) -> AdminClient:
        """Calls to the daemon at the socket, which has so many seconds to answer."""
        return AdminClient(self.socket, timeout)

    def look(self, path: str) -> bytes:
        """The JSON of a call that everybody may make: by the status socket, if not by the other."""
        try:
            return self.client().get(path)
        except NotPermittedError:
            if self.socket != DEFAULT_SOCKET:
                raise
            with suppress(NoDaemonError, NotPermittedError):
                return AdminClient(DEFAULT_STATUS_SOCKET).get(path)
            raise


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep a given value; that after the command overrides that before it."""
    if value is not None and value is not False and parameter.name is not None:
        setattr(context.ensure_object(Settings), parameter.name, value)


def common_options(environment: bool = False) -> Callable[[CommandT], CommandT]:
    """Give a command `--json` and `--socket`; `environment` also reads the variable for the socket."""
    socket = click.option(
        "--socket",
        metavar="F",
        envvar=SOCKET_VARIABLE if environment else None,
        expose_value=False,
        callback=_remember,
        help=f"Admin socket of the daemon, or {SOCKET_VARIABLE}.  [default: {DEFAULT_SOCKET}]",
    )
    as_json = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Write JSON: every value in full, with stable names.",
    )

    def give(command: CommandT) -> CommandT:
        return as_json(socket(command))

    return give
