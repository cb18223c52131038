# SPDX-License-Identifier: Apache-2.0
"""`genpassword`: what is made here and needs no daemon."""

import secrets

import click
import msgspec

from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.output import write_json, write_text
from pineconed.cli.settings import Settings, common_options

_BYTES = 16


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl genpassword",
        'pineconectl add-peer "tls://192.0.2.1:4445?password=$PASSWORD"',
    ),
)
@common_options()
@click.pass_obj
def genpassword(settings: Settings) -> None:
    """Make a password for tls:// peerings.

    It is 128 random bits in 22 characters that need no quoting in a URI. Write it after password= in the
    URI of the listener and in those of all who shall connect to it: nobody else can. A short password of
    your own can be guessed by a stranger who is dialled once, or who is on the way.
    """
    password = secrets.token_urlsafe(_BYTES)
    if settings.json:
        write_json(msgspec.json.encode({"password": password}))
    else:
        write_text(f"{password}\n")
