# SPDX-License-Identifier: Apache-2.0
"""What the commands share: asking the daemon, reading how people name a node, and writing the answer."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

import pineconed
from pineconed.admin import schema
from pineconed.admin.client import (
    AdminClient,
    ClientError,
    Identifier,
    IdentifierError,
    decode,
    parse_identifier,
)
from pineconed.cli.blocks import Block
from pineconed.cli.output import write_blocks, write_json, write_text
from pineconed.cli.settings import Settings

AnswerT = TypeVar("AnswerT")


def show(
    settings: Settings, answer: bytes, kind: type[AnswerT], view: Callable[[AnswerT], list[Block]]
) -> None:
    """Write an answer as it came with `--json`, else as the view draws it."""
    if settings.json:
        write_json(answer)
    else:
        write_blocks(view(decode(answer, kind)))


# ---------------------------------------------------------------- how people name nodes


def identifier(text: str) -> Identifier:
    """A key or address of the command line; a wrong one is wrong usage."""
    try:
        return parse_identifier(text)
    except IdentifierError as error:
        raise click.BadArgumentUsage(str(error), click.get_current_context()) from error


def node_text(text: str) -> str:
    """A key or address, once it is known to be one."""
    identifier(text)
    return text.strip()


def peer_filter(which: str | None) -> dict[str, Any]:
    """The parameters of `GET /v1/peers` for a port, a key or an address."""
    if which is None:
        return {}
    return {"port": _port(which)} if _is_port(which) else {"node": node_text(which)}


def peer_name(which: str) -> dict[str, Any]:
    """The parameters of `DELETE /v1/peers` for a port, a key, an address or else a URI."""
    if _is_port(which):
        return {"port": _port(which)}
    try:
        parse_identifier(which)
    except IdentifierError:
        return {"uri": which}
    return {"key": which.strip()}


def _is_port(text: str) -> bool:
    return text.isdecimal() and len(text) <= 5


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 253:
        raise click.BadArgumentUsage(f"ports are 1 to 253, not {port}", click.get_current_context())
    return port


# ---------------------------------------------------------------- snake


def fetch_snake(client: AdminClient, limit: int) -> bytes:
    """Up to `limit` rows, page by page, as the JSON of one answer."""
    answer = client.get("/v1/snake", limit=min(limit, schema.MAX_ROWS))
    page = decode(answer, schema.Snake)
    rows = list(page.entries)
    while page.next_cursor is not None and len(rows) < limit:
        left = min(limit - len(rows), schema.MAX_ROWS)
        page = decode(client.get("/v1/snake", cursor=page.next_cursor, limit=left), schema.Snake)
        rows += page.entries
    return msgspec.json.encode(msgspec.structs.replace(page, entries=rows))


# ---------------------------------------------------------------- sessions


def fetch_sessions(client: AdminClient, node: str | None, limit: int) -> bytes:
    """Up to `limit` sessions, or the one with `node`, as the JSON of one answer."""
    answer = client.get("/v1/sessions", node=node, limit=min(limit, schema.MAX_ROWS))
    page = decode(answer, schema.Sessions)
    rows = list(page.sessions)
    while page.next_cursor is not None and len(rows) < limit:
        left = min(limit - len(rows), schema.MAX_ROWS)
        page = decode(client.get("/v1/sessions", cursor=page.next_cursor, limit=left), schema.Sessions)
        rows += page.sessions
    return msgspec.json.encode(msgspec.structs.replace(page, sessions=rows))


# ---------------------------------------------------------------- address


def show_address(settings: Settings, of: str | None) -> None:
    """Print the other name of a node: its address, or as much of its key as can be known."""
    answer = _own_address(settings) if of is None else _address_answer(settings, identifier(of), of.strip())
    if settings.json:
        write_json(msgspec.json.encode(answer))
        return
    if of is None or ":" not in of:
        write_text(f"{answer.address}\n")
        return
    write_text(f"{answer.public_key or answer.key_prefix}\n")
    if answer.public_key is None:
        click.echo(
            "only the first 30 of 64 digits: an address tells no more, and no daemon here knows the node",
            err=True,
        )


def _own_address(settings: Settings) -> schema.AddressAnswer:
    status = decode(settings.look("/v1/status"), schema.Status)
    return _answer_for(parse_identifier(status.public_key), status.public_key)


def _address_answer(settings: Settings, node: Identifier, of: str) -> schema.AddressAnswer:
    """From the key alone; for an address, with the daemon's help if there is one."""
    if not node.exact:
        try:
            return decode(settings.client().get("/v1/address", of=of), schema.AddressAnswer)
        except ClientError:
            pass
    return _answer_for(node, of)


def _answer_for(node: Identifier, of: str) -> schema.AddressAnswer:
    return schema.AddressAnswer(
        of=of,
        address=node.address,
        public_key=node.key.hex() if node.exact else None,
        key_prefix=node.prefix.hex(),
    )


# ---------------------------------------------------------------- version


def show_version(settings: Settings) -> None:
    """Print our version and the daemon's, or why there is none."""
    daemon: schema.Version | None = None
    reason = ""
    try:
        daemon = decode(settings.look("/v1/version"), schema.Version)
    except ClientError as error:
        reason = str(error)
    if settings.json:
        write_json(msgspec.json.encode({"pineconectl": pineconed.__version__, "daemon": daemon}))
        return
    running = daemon.version if daemon else f"- ({reason})"
    write_text(f"pineconectl  {pineconed.__version__}\npineconed    {running}\n")
