# SPDX-License-Identifier: Apache-2.0
"""Strict reading of requests: what a call does not take is refused, with a word on what it does take."""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from pineconed.admin.errors import AdminError

MAX_BODY_BYTES = 16 * 1024
"""The largest request body that is read."""

_AT = re.compile(r" - at `\$\.?(.*)`$")

RequestT = TypeVar("RequestT", bound=msgspec.Struct)


def decode_query(pairs: Iterable[tuple[str, str]], kind: type[RequestT]) -> RequestT:
    """Read the parameters of a query string; raises AdminError for unknown, repeated and wrong ones."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise AdminError("bad_request", f"the parameter '{name}' is given twice", "give it once")
        values[name] = value
    return _convert(values, kind)


def decode_body(body: bytes, kind: type[RequestT]) -> RequestT:
    """Read a JSON object; raises AdminError when it is none or not the one asked for."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdminError("bad_request", f"the body is not JSON: {error}", _takes(kind)) from error


def _convert(values: dict[str, Any], kind: type[RequestT]) -> RequestT:
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(error, kind) from error


def _refusal(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> AdminError:
    """The sentence of msgspec, with the name of the field in front instead of behind."""
    text = str(error)
    found = _AT.search(text)
    where = f"{found[1]}: " if found and found[1] else ""
    what = _AT.sub("", text).replace("`", "'")
    return AdminError("bad_request", where + what[:1].lower() + what[1:], _takes(kind))


def _takes(kind: type[msgspec.Struct]) -> str:
    names = ", ".join(kind.__struct_fields__)
    return f"this call takes {names}" if names else "this call takes nothing"
