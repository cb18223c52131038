# SPDX-License-Identifier: Apache-2.0
"""Writes what a command found: JSON, plain text, or a drawing for a terminal."""

import os
import sys
from collections.abc import Sequence

import msgspec

from pineconed.cli.blocks import Block
from pineconed.cli.plain import plain_text


class OutputError(Exception):
    """Standard output cannot be written to, such as a full disk."""


def on_terminal() -> bool:
    """Whether a person is likely to read this, rather than a program."""
    return sys.stdout.isatty()


def write_blocks(blocks: Sequence[Block]) -> None:
    """Draw for a terminal, write plainly into anything else."""
    if on_terminal():
        from pineconed.cli.terminal import terminal_text  # noqa: PLC0415 - rich only where it is needed

        write_text(terminal_text(blocks))
    else:
        write_text(plain_text(blocks))


def write_json(answer: bytes) -> None:
    """Write JSON as the daemon sent it, laid out for reading."""
    write_text(msgspec.json.format(answer.strip(), indent=2).decode() + "\n")


def write_text(text: str) -> None:
    """Write to standard output; a reader that has gone away is no error. Raises OutputError."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    except OSError as error:
        _silence_stdout()
        raise OutputError(error.strerror or str(error)) from error


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
