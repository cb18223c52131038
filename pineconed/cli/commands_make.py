# SPDX-License-Identifier: Apache-2.0
"""`genpassword`, `completion`: what is made here and needs no daemon."""

import secrets

import click
import msgspec

from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.output import write_json, write_text
from pineconed.cli.settings import Settings, common_options

_BYTES = 16
_SHELLS = ("bash", "fish", "zsh")


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


@click.command(
    cls=ExplainedCommand,
    examples=(
        "pineconectl completion bash | sudo tee /etc/bash_completion.d/pineconectl",
        "pineconectl completion zsh > ~/.zfunc/_pineconectl    in a folder of $fpath",
        "pineconectl completion fish > ~/.config/fish/completions/pineconectl.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@common_options()
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets a shell complete the words of pineconectl.

    The Debian package has installed it for all three shells. What is printed asks pineconectl itself at every
    TAB, so that it need not be made again for another version.
    """
    from click.shell_completion import ShellComplete, get_completion_class  # noqa: PLC0415

    name = context.find_root().info_name or ""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    made = kind(context.find_root().command, {}, name, f"_{name}_COMPLETE".upper())
    script = ShellComplete.source(made)  # that of bash looks first which bash there is on this machine
    if context.ensure_object(Settings).json:
        write_json(msgspec.json.encode({"script": script}))
    else:
        write_text(f"{script.strip()}\n")
