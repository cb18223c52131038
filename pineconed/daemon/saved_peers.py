# SPDX-License-Identifier: Apache-2.0
"""The file in which pineconectl's peers outlive the daemon: a list of URIs, in TOML.

It holds passwords, so only its owner may read it, and it is replaced in one step, so that whatever happens
there is a whole file, the old or the new one.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pineconed.admin.errors import SaveError
from pineconed.daemon.config_check import Problem, check
from pineconed.daemon.config_load import ConfigError, Loaded, describe_all, parse_toml, read_text
from pineconed.daemon.durable_file import replace_file

_KEY = "connect"
_HEAD = """\
# The peers that `pineconectl add-peer --save` keeps; `pineconectl remove-peer` takes them out again.
# pineconed writes this file anew each time, so comments are lost. Passwords stand here in the clear.
"""


def with_saved(loaded: Loaded) -> Loaded:
    """A configuration with its saved peers. ConfigError when their file is not as it should be."""
    return loaded._replace(saved=read_saved(loaded.config.saved_peers))


def read_saved(path: Path) -> tuple[str, ...]:
    """The URIs in the file; none when it does not exist. ConfigError names the line of each mistake."""
    try:
        text = read_text(path, "peering.saved_peers")
    except FileNotFoundError:
        return ()
    data = parse_toml(text, path)
    strangers = [Problem((key,), f"unknown key; known here: {_KEY}") for key in data if key != _KEY]
    known = {key: value for key, value in data.items() if key == _KEY}
    if problems := strangers + check(known):
        raise ConfigError("\n".join(describe_all(problems, text, path)))
    return tuple(data.get(_KEY, ()))


def write_saved(path: Path, uris: Sequence[str]) -> None:
    """Replace the file. SaveError when that cannot be."""
    items = "".join(f"    {json.dumps(uri, ensure_ascii=False)},\n" for uri in uris)
    text = f"{_HEAD}{_KEY} = [\n{items}]\n" if uris else f"{_HEAD}{_KEY} = []\n"
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror}") from error
