# SPDX-License-Identifier: Apache-2.0
"""The configuration file that `pineconed genconf` prints: every key explained, commented at its default."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pineconed.daemon.config import DEFAULT_CONFIG_PATH, Config
from pineconed.daemon.config_check import expected, section_of

_WIDTH = 100
_HEAD = f"""\
Configuration of pineconed, in TOML. The daemon reads {DEFAULT_CONFIG_PATH} unless it is
started with --config. Every key has a default, shown here behind a # without a space; remove the # to
change one. `pineconed check-config` tells whether the file is right, `systemctl reload pineconed` applies it.
"""


def generate() -> str:
    """The text of the file. Uncommenting every default in it changes nothing."""
    return "\n".join([*_prose(_HEAD), *_keys(Config), *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for field in msgspec.structs.fields(Config):
        if section := section_of(field):
            yield ""
            yield from _prose(f"---- {section.__doc__}")
            yield f"[{field.name}]"
            yield from _keys(section)


def _keys(struct: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        if section_of(field) is None:
            yield ""
            yield from _key(field)


def _key(field: msgspec.structs.FieldInfo) -> Iterator[str]:
    meta = field.type.__metadata__[0]
    yield from _prose(meta.description)
    if meta.examples:
        yield from (f"# Example: {field.name} = {toml_value(example)}" for example in meta.examples)
    else:
        yield from _prose(f"Takes {expected(field.type)}.")
    yield f"#{field.name} = {toml_value(field.default)}"


def _prose(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 2, break_on_hyphens=False):
        yield f"# {line}"


def toml_value(value: Any) -> str:
    """`value` as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Path():
            return json.dumps(str(value))
        case tuple() | list():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            return json.dumps(value)
