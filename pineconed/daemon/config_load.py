# SPDX-License-Identifier: Apache-2.0
"""The configuration that is in force: the file, then the flags over it."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pineconed.daemon.config import DEFAULT_CONFIG_PATH, Config
from pineconed.daemon.config_check import Problem, build, check
from pineconed.daemon.toml_lines import KeyPath, line_of

_MAX_FILE = 1 << 20  # bytes
_WHERE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SYNTAX_HINTS = {
    "Invalid value": 'text needs double quotes: name = "pine0"; lists need brackets: listen = []; '
    "switches are true or false",
    "Cannot overwrite": "the same key is set twice; remove one",
    "Cannot declare": "the same section begins twice; join the two",
    "Unclosed array": "a list ends with a ]",
    "Illegal character '\\n'": 'a text in " ends on its line',
    "Expected newline": 'one setting a line; permissions stand in quotes: mode = "0660"',
}
_FLAGS = {
    "listen": "--listen",
    "connect": "--connect",
    "node": "--key-file",
    "admin": "--admin-socket",
    "tun": "--tun",
    "log": "--log-level",
    "multicast": "--multicast",
}


class ConfigError(Exception):
    """The configuration cannot be used; each line of the message names a place and what would be right."""


class Loaded(NamedTuple):
    """A usable configuration.

    `source` is the file that it was read from, None when there was none; `connect_source` tells where
    its `connect` stands. `saved` are the peers that pineconectl saved, as URIs.
    """

    config: Config
    source: Path | None
    connect_source: Literal["file", "flag"]
    saved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overrides:
    """The flags of the command line that stand above the file; None or empty where a flag was not given."""

    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    key_file: Path | None = None
    admin_socket: str | None = None
    tun: str | None = None
    log_level: str | None = None
    multicast: bool | None = None

    def as_data(self) -> dict[str, Any]:
        """The flags in the shape of a configuration file."""
        data: dict[str, Any] = {}
        if self.listen:
            data["listen"] = list(self.listen)
        if self.connect:
            data["connect"] = list(self.connect)
        if self.key_file is not None:
            data["node"] = {"key_file": str(self.key_file.absolute())}
        if self.admin_socket is not None:
            data["admin"] = _switchable("socket", self.admin_socket, str(Path(self.admin_socket).absolute()))
        if self.tun is not None:
            data["tun"] = _switchable("name", self.tun, self.tun)
        if self.log_level is not None:
            data["log"] = {"level": self.log_level}
        if self.multicast is not None:
            data["multicast"] = {"enabled": self.multicast}
        return data


def _switchable(key: str, given: str, value: str) -> dict[str, Any]:
    """The section of a flag that takes a value or `none`."""
    return {"enabled": False} if given == "none" else {"enabled": True, key: value}


def load(path: Path | None, overrides: Overrides) -> Loaded:
    """Read `path`, or the default file if there is one, and put `overrides` above it.

    ConfigError when a file that was asked for is missing, or when anything in it is not as it should be.
    """
    text, source = _read(path)
    data = parse_toml(text, source) if source else {}
    if source and (problems := check(data)):
        raise ConfigError("\n".join(describe_all(problems, text, source)))
    merged = _merge(data, overrides.as_data())
    if problems := check(merged):  # of the flags, as the file by itself is right
        raise ConfigError("\n".join(f"{_FLAGS[str(path[0])]}: {text}" for path, text in problems))
    return Loaded(build(merged), source, "flag" if overrides.connect else "file")


def _read(path: Path | None) -> tuple[str, Path | None]:
    """The text of the file and its name; no name when the default file is not there."""
    wanted = path or DEFAULT_CONFIG_PATH
    try:
        return read_text(wanted, "--config"), wanted
    except FileNotFoundError:
        if path is None:
            return "", None
        raise ConfigError(
            f"{wanted}: there is no such file; `pineconed genconf` prints one to start from"
        ) from None


def read_text(path: Path, setting: str) -> str:
    """The text of a file that `setting` names. FileNotFoundError, or ConfigError when it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name the file in it with {setting}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; run as a user who may read it, or name another "
            f"file with {setting}"
        ) from error
    if len(raw) > _MAX_FILE:
        raise ConfigError(f"{path}: is larger than 1 MiB, so it is hardly a configuration file")
    return _decode(raw, path)


def _decode(raw: bytes, source: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}:{line}: is not UTF-8 text; save the file in that encoding") from error


def parse_toml(text: str, source: Path) -> dict[str, Any]:
    """The plain data of a TOML file. ConfigError names the line that is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_error(str(error), text, source)) from error


def _syntax_error(message: str, text: str, source: Path) -> str:
    """The complaint of tomllib with its place in front, and a hint where the usual mistake is likely."""
    where = _WHERE.search(message)
    what = _WHERE.sub("", message)
    line = int(where[1]) if where and where[1] else text.rstrip("\n").count("\n") + 1
    column = f" at column {where[2]}" if where and where[2] else ""
    return f"{source}:{line}: not valid TOML{column}: {what[:1].lower()}{what[1:]}{_syntax_hint(what)}"


def _syntax_hint(what: str) -> str:
    return next((f" ({hint})" for start, hint in _SYNTAX_HINTS.items() if what.startswith(start)), "")


def describe_all(problems: list[Problem], text: str, source: Path) -> Iterator[str]:
    """A line for each mistake in the file with this text, in their order there."""
    placed = [(line_of(text, problem.path), problem) for problem in problems]
    for line, problem in sorted(placed, key=lambda item: item[0] or 0):
        place = f"{source}:{line}" if line else str(source)
        yield f"{place}: {_written(problem.path)}: {problem.text}"


def _written(path: KeyPath) -> str:
    """A key as the documentation writes it; which item of a list it is, the line tells."""
    keys = (key for key in path if isinstance(key, str))
    return ".".join(key if _BARE_KEY.fullmatch(key) else json.dumps(key) for key in keys)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`: sections are joined, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _merge(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged
