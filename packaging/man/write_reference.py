# SPDX-License-Identifier: Apache-2.0
"""Write the reference parts of the manual pages: commands, options, settings, as the program explains them.

    python packaging/man/write_reference.py

The rest of each page is written by hand. A test tells when a page is behind the program.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from pineconed.cli.explained import ExplainedCommand
from pineconed.cli.main import pineconectl
from pineconed.daemon.config import Config
from pineconed.daemon.config_check import expected, section_of
from pineconed.daemon.genconf import toml_value
from pineconed.daemon.main import command as pineconed

FOLDER = Path(__file__).parent
_BEGIN, _END = ('.\\" %s: written by write_reference.py', '.\\" end of %s')


def updated(page: str) -> str:
    """The page with its reference parts as they have to be."""
    for name, part in PARTS.items():
        begin, end = _BEGIN % name, _END % name
        if begin in page:
            head, rest = page.split(f"{begin}\n")
            _, tail = rest.split(end)
            page = "\n".join([head + begin, *part(), end]) + tail
    return page


def _daemon_options() -> Iterator[str]:
    yield from _options(pineconed)


def _daemon_commands() -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for command in pineconed.commands.values():
        yield from _command(command)
    yield ".El"


def _common_options() -> Iterator[str]:
    yield from _options(pineconectl)


def _commands() -> Iterator[str]:
    for title, commands in pineconectl.sections.items():
        yield f".Ss {title}"
        yield ".Bl -tag -width Ds"
        for command in commands:
            yield from _command(command)
        yield ".El"


def _command(command: click.Command) -> Iterator[str]:
    """A command as an item of a list, with what it takes and examples."""
    context = click.Context(command)
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    words = [_argument(each.make_metavar(context)) for each in arguments]
    yield " ".join([f".It Cm {command.name}", *words])
    yield from _text(command.help or "")
    own = [each for each in command.params if isinstance(each, click.Option) and each.name not in _COMMON]
    if own:
        yield from _options(command, _COMMON)
    if isinstance(command, ExplainedCommand):
        yield ".Pp"
        yield "Examples:"
        yield ".Bd -literal -offset indent -compact"
        yield from map(_escaped, command.examples)
        yield ".Ed"


_COMMON = frozenset({"json", "socket"})


def _argument(metavar: str) -> str:
    if metavar.startswith("["):
        return f"Op Ar {metavar.strip('[]')}"
    return f"Ar {metavar.strip('{}')}"


def _options(command: click.Command, besides: frozenset[str] = frozenset()) -> Iterator[str]:
    context = click.Context(command)
    yield ".Bl -tag -width Ds"
    for option in command.params:
        if not isinstance(option, click.Option) or option.name in besides:
            continue
        names = [f"Fl {name[1:]}" for name in (*sorted(option.opts, key=len), *option.secondary_opts)]
        value = "" if option.is_flag else f" Ar {option.make_metavar(context)}"
        yield f".It {' , '.join(names)}{value}"
        yield from _text(option.help or "")
    yield ".El"


def _settings() -> Iterator[str]:
    yield from _keys(".Ss Peers", Config)
    for field in msgspec.structs.fields(Config):
        if section := section_of(field):
            yield f".Ss [{field.name}] section"
            yield from _text(section.__doc__ or "")
            yield from _keys(None, section)


def _keys(heading: str | None, struct: type[msgspec.Struct]) -> Iterator[str]:
    if heading is not None:
        yield heading
    yield ".Bl -tag -width Ds"
    for field in msgspec.structs.fields(struct):
        if section_of(field) is None:
            yield f".It Va {field.name}"
            meta = field.type.__metadata__[0]
            yield from _text(meta.description)
            yield from _text(f"Takes {expected(field.type)}.")
            yield ".Pp"
            yield "Default:"
            yield f".Dl {_escaped(toml_value(field.default))}"
            if meta.examples:
                yield "Example:"
                for example in meta.examples:
                    yield f".Dl {_escaped(f'{field.name} = {toml_value(example)}')}"
    yield ".El"


def _text(text: str) -> Iterator[str]:
    """Paragraphs, each sentence on lines of its own, as mdoc wants it."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".Pp"
        for sentence in re.split(r"(?<=[.?!:])\s+", " ".join(paragraph.split())):
            for line in textwrap.wrap(sentence, 72, break_on_hyphens=False, break_long_words=False):
                yield _escaped(line)


def _escaped(text: str) -> str:
    """Plain text for a line of its own or after a macro that takes words."""
    plain = text.replace("\\", "\\e").replace("`", "\\(ga").replace("'", "\\(aq").replace('"', "\\(dq")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


PARTS = {
    "options of pineconed": _daemon_options,
    "commands of pineconed": _daemon_commands,
    "common options of pineconectl": _common_options,
    "commands of pineconectl": _commands,
    "settings": _settings,
}


def main() -> None:
    """Bring all pages up to date."""
    for path in sorted(FOLDER.glob("*.[158]")):
        path.write_text(updated(path.read_text()))


if __name__ == "__main__":
    main()
