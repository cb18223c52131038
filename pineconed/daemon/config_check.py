# SPDX-License-Identifier: Apache-2.0
"""From the plain data of a TOML file to a `Config`, with every mistake found in one go."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from pineconed.admin.identifier import IdentifierError, parse_identifier
from pineconed.admin.listener import MAX_PATH_BYTES
from pineconed.daemon.config import Config
from pineconed.daemon.toml_lines import KeyPath
from pineconed.transport.uri import parse_listen_uri, parse_peer_uri, shown
from pineconed.transport.uri_options import parse_key

_PATTERN = re.compile(r"[!-.0-~]{1,32}")
_SHOWN = 60  # characters of a wrong value that a message repeats

Fields = dict[str, msgspec.structs.FieldInfo]


def _read_node(text: str) -> str:
    """The address of a node that is named by key or address; ValueError says what would be right."""
    try:
        return parse_identifier(text).address
    except IdentifierError as error:
        raise ValueError(
            f"{error}; write a public key (64 hexadecimal digits) or an address that begins with fd"
        ) from error


def _read_pattern(text: str) -> str:
    """A pattern for the names of interfaces."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name of a network interface; write such as eth0 or eth* (see ip link)"
        )
    return text


_ITEM_READERS: dict[KeyPath, Callable[[str], object]] = {
    ("listen",): lambda text: parse_listen_uri(text).name,
    ("connect",): lambda text: parse_peer_uri(text).name,
    ("overlay", "bare_ipv6"): _read_node,
    ("peering", "allowed_keys"): parse_key,
    ("peering", "blocked_keys"): parse_key,
    ("multicast", "include"): _read_pattern,
    ("multicast", "exclude"): _read_pattern,
}
"""The lists, and what each reads an item with; two items are the same when they read as the same."""


class Problem(NamedTuple):
    """One mistake: the key that it is about, and a sentence with what would be right."""

    path: KeyPath
    text: str


def check(data: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with the plain data of a TOML file; nothing when `build` may be called."""
    problems = list(_check_table(data, Config, ()))
    return problems or list(_check_together(build(data)))


def build(data: Mapping[str, Any]) -> Config:
    """The configuration that checked `data` describes."""
    return msgspec.convert(data, Config, dec_hook=_decode)


def section_of(field: msgspec.structs.FieldInfo) -> type[msgspec.Struct] | None:
    """The struct behind `field` if it is a section."""
    is_section = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    return field.type if is_section else None


def _decode(wanted: type, value: Any) -> Any:
    """What msgspec does not know by itself: a path."""
    if wanted is Path and isinstance(value, str) and value.startswith("/") and "\0" not in value:
        return Path(value)
    raise ValueError(value)


def _fields(struct: type[msgspec.Struct]) -> Fields:
    return {field.name: field for field in msgspec.structs.fields(struct)}


# ---------------------------------------------------------------- keys


def _check_table(data: Mapping[str, Any], struct: type[msgspec.Struct], path: KeyPath) -> Iterator[Problem]:
    fields = _fields(struct)
    for key, value in data.items():
        here = (*path, key)
        if key not in fields:
            yield Problem(here, _unknown(key, value, path, fields))
        elif section := section_of(fields[key]):
            yield from _check_section(value, section, here)
        else:
            yield from _check_value(value, fields[key].type, here)


def _check_section(value: Any, section: type[msgspec.Struct], path: KeyPath) -> Iterator[Problem]:
    if isinstance(value, dict):
        yield from _check_table(value, section, path)
    else:
        yield Problem(path, f"is a section: write [{path[0]}] on a line of its own and its keys below it")


def _unknown(key: str, value: Any, path: KeyPath, fields: Fields) -> str:
    what = "unknown key" if path else "unknown key or section"
    if homes := [home for home in _homes(key) if home != path]:
        return f"{what}; {key} belongs {_place(homes[0])}"
    is_table = isinstance(value, dict)
    alike = [name for name, field in fields.items() if (section_of(field) is not None) == is_table]
    if match := get_close_matches(key, alike, n=1):
        return f"{what}; did you mean {match[0]}?"
    return f"{what}; known here: {', '.join(fields)}"


def _homes(key: str) -> Iterator[KeyPath]:
    """Where a key of this name does exist."""
    for name, field in _fields(Config).items():
        section = section_of(field)
        if name == key:
            yield ()
        elif section and key in _fields(section):
            yield (name,)


def _place(path: KeyPath) -> str:
    return f"under [{path[0]}]" if path else "at the top of the file, above the first [section]"


# ---------------------------------------------------------------- values


def _check_value(value: Any, declared: Any, path: KeyPath) -> Iterator[Problem]:
    if path in _ITEM_READERS and isinstance(value, list):
        yield from _check_items(value, path)
    elif not _fits(value, declared):
        yield Problem(path, f"expected {expected(declared)}, found {_shown(value)}")


def _check_items(values: list[Any], path: KeyPath) -> Iterator[Problem]:
    read = _ITEM_READERS[path]
    seen: dict[object, str] = {}
    for index, value in enumerate(values):
        here = (*path, index)
        try:
            item = read(value) if isinstance(value, str) else None
        except ValueError as error:
            yield Problem(here, str(error))
            continue
        if item is None:
            yield Problem(here, f"expected text in double quotes, found {_shown(value)}")
        elif item in seen:
            yield Problem(here, _twice(value, seen[item]))
        else:
            seen[item] = value


def _twice(text: str, before: str) -> str:
    if text == before:
        return f"{_shown(text)} is in the list twice; remove one"
    return f"{_shown(text)} means the same as {_shown(before)} before it in the list; remove one"


def _fits(value: Any, declared: Any) -> bool:
    try:
        msgspec.convert(value, declared, dec_hook=_decode)
    except msgspec.ValidationError:
        return False
    return True


def expected(declared: Any) -> str:
    """What a key of the type `declared` takes, in words that follow "expected"."""
    wanted = inspect.type_info(declared)
    if isinstance(wanted, inspect.Metadata):
        if wanted.extra:
            return str(wanted.extra["expected"])
        wanted = wanted.type
    match wanted:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:g}"
        case inspect.VarTupleType():
            return 'a list such as ["tcp://host:port"]'
        case _:
            return "an absolute path (it begins with /) in double quotes"


def _shown(value: Any) -> str:
    text = json.dumps(shown(value)) if isinstance(value, str) else shown(json.dumps(value, default=str))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# ---------------------------------------------------------------- keys that depend on each other


def _check_together(config: Config) -> Iterator[Problem]:
    peering = config.peering
    if peering.backoff_min > peering.backoff_max:
        yield Problem(
            ("peering", "backoff_min"),
            f"{peering.backoff_min:g} is more than backoff_max ({peering.backoff_max:g}); swap or raise one",
        )
    multicast = config.multicast
    if multicast.enabled and not (multicast.beacon or multicast.listen):
        yield Problem(
            ("multicast", "listen"),
            "with beacon and listen both false there is nothing to do; write enabled = false instead",
        )
    admin = config.admin
    for name, path in (("socket", admin.socket), ("status_socket", admin.status_path)):
        if path is not None and len(bytes(path)) > MAX_PATH_BYTES:
            yield Problem(
                ("admin", name),
                f"the path of a Unix socket has at most {MAX_PATH_BYTES} bytes; use a shorter one",
            )
    if admin.status_path == admin.socket:
        yield Problem(
            ("admin", "status_socket"),
            "it is the path of the admin socket; choose another one",
        )
