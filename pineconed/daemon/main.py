# SPDX-License-Identifier: Apache-2.0
"""The command `pineconed`: runs the daemon, and does the few things that are needed before it runs."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from pineconed import __version__
from pineconed.daemon.config import DEFAULT_CONFIG_PATH
from pineconed.daemon.config_load import ConfigError, Loaded, Overrides, load
from pineconed.daemon.errors import StartError
from pineconed.daemon.saved_peers import with_saved

CONFIG_MISTAKE = 2
REFUSED = 1

_HELP = """\
Connect this machine to a Pinecone network.

Every machine in such a network has an IPv6 address of its own, made from its key, and reaches every other
one by it: ping, ssh, a web server, anything. The machines need no common network and no central server. Each
only connects to some neighbours, its peers, and they pass the traffic on.

Without a command, pineconed runs in the foreground until it gets SIGTERM or Ctrl-C. It takes its settings
from /etc/pineconed/pineconed.toml if that file exists; the options below stand above the file. Use
pineconectl to look at it while it runs.

\b
Examples:
  A server that others may connect to:
      pineconed --listen tcp://[::]:4444
  A laptop that connects to it:
      pineconed --connect tcp://server.example.org:4444
  Only passing on traffic, without a network interface and without root:
      pineconed --tun none --key-file ~/node.key --admin-socket ~/node.sock --listen tcp://[::]:4444
  A configuration file to start from, and a look whether it is right:
      pineconed genconf > pineconed.toml
      pineconed check-config --config pineconed.toml
"""

_EPILOG = """\
\b
Exit codes: 0 stopped as asked, 1 cannot run (the message says why), 2 wrong usage or configuration.
Signals: SIGTERM and SIGINT stop the daemon; SIGHUP has it read its configuration again.
"""

_WRITE_ELSEWHERE = "name a file in a folder that is there and that this user may write to"

# Whether a file can be read is found out by those who read it: they know what to do about it.
_FILE = click.Path(path_type=Path, readable=False)

_CONFIG = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=_FILE,
    help="Read this file instead of /etc/pineconed/pineconed.toml. It has to exist.",
)


@click.group(
    invoke_without_command=True,
    help=_HELP,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@_CONFIG
@click.option(
    "--listen",
    metavar="URI",
    multiple=True,
    help="Let others connect here, such as tcp://[::]:4444. May be repeated; replaces the file's list.",
)
@click.option(
    "--connect",
    metavar="URI",
    multiple=True,
    help="Stay connected to this peer, such as tcp://host:4444. May be repeated; replaces the file's list.",
)
@click.option(
    "--key-file",
    metavar="FILE",
    type=_FILE,
    help="File with this node's private key; made if it is missing.",
)
@click.option(
    "--admin-socket",
    metavar="FILE",
    help="Unix socket for pineconectl, or none.",
)
@click.option("--tun", metavar="NAME", help="Name of the network interface, auto, or none to go without.")
@click.option(
    "--multicast/--no-multicast",
    default=None,
    help="Find the nodes on the local network and peer with them, or do not.  [default: do]",
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.version_option(__version__, message="pineconed %(version)s")
@click.pass_context
def command(context: click.Context, /, config_file: Path | None, **flags: Any) -> None:
    """Run the daemon, unless there is a subcommand."""
    overrides = Overrides(**flags)
    context.obj = (config_file, overrides)
    if context.invoked_subcommand is None:
        _run(partial(load, config_file, overrides))


@command.command()
def genconf() -> None:
    """Print a configuration file with every setting explained."""
    from pineconed.daemon.genconf import generate  # noqa: PLC0415 (each command imports what it needs)

    click.echo(generate(), nl=False)


@command.command("check-config")
@_CONFIG
@click.pass_context
def check_config(context: click.Context, config_file: Path | None) -> None:
    """Tell whether the configuration is right, and why not."""
    outer_file, overrides = context.obj
    loaded = _load(partial(load, config_file or outer_file, overrides))
    if os.access(loaded.config.saved_peers, os.R_OK):  # the daemon's own file, not for every user to read
        _load(partial(with_saved, loaded))
    absent = f"there is no {DEFAULT_CONFIG_PATH}, so every setting is at its default"
    click.echo(f"{loaded.source} is right" if loaded.source else absent)


@command.command()
@click.option(
    "--out",
    metavar="FILE",
    type=_FILE,
    help="Write the key to this file, readable only by you. A file that is there is never overwritten.",
)
def genkey(out: Path | None) -> None:
    """Make a new private key, and with it a new address.

    The key is printed as one line of 64 hexadecimal digits, which is what a key file holds. The daemon makes
    its own key at its first start, so this is only needed to know the address before.
    """
    from pineconed.daemon.identity import key_line, new_seed, write_key  # noqa: PLC0415

    seed = new_seed()
    try:
        if out is None:
            click.echo(key_line(seed), nl=False)
        else:
            write_key(out, seed)
    except FileExistsError:
        raise _refusal(f"{out} exists and is not overwritten; move it away or choose another name") from None
    except OSError as error:
        raise _refusal(f"cannot write {out}: {error.strerror}; {_WRITE_ELSEWHERE}") from error
    _describe_key(seed, to_stderr=out is None)


@command.command()
def version() -> None:
    """Print the version."""
    click.echo(f"pineconed {__version__}")


def _describe_key(seed: bytes, *, to_stderr: bool) -> None:
    from ipaddress import IPv6Address  # noqa: PLC0415

    from pineconed.overlay.address import address_of  # noqa: PLC0415
    from pineconed.signing import Ed25519Signer  # noqa: PLC0415

    public_key = Ed25519Signer(seed).public_key
    click.echo(f"public key {public_key.hex()}", err=to_stderr)
    click.echo(f"address    {IPv6Address(address_of(public_key))}", err=to_stderr)


def _load(read: Callable[[], Loaded]) -> Loaded:
    try:
        return read()
    except ConfigError as error:
        raise _refusal(str(error), CONFIG_MISTAKE) from error


def _refusal(message: str, code: int = REFUSED) -> click.exceptions.Exit:
    """Print a message, each line with the program's name, and give the exception that ends it."""
    from pineconed.daemon.logs import is_journal, priority  # noqa: PLC0415

    start = priority("error") if is_journal(sys.stderr, os.environ) else ""
    for line in message.splitlines():
        click.echo(f"{start}pineconed: {line}", err=True)
    return click.exceptions.Exit(code)


def _run(read: Callable[[], Loaded]) -> None:
    from pineconed.daemon.run import run_until_stopped  # noqa: PLC0415

    loaded = _load(lambda: with_saved(read()))
    try:
        run_until_stopped(loaded, read)
    except StartError as error:
        raise _refusal(str(error)) from error


def main() -> None:
    """Entry point of the command `pineconed`."""
    command(prog_name="pineconed")


if __name__ == "__main__":
    main()
