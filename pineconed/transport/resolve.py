# SPDX-License-Identifier: Apache-2.0
"""Host names to socket addresses, without ever holding up the loop or the end of the program.

`loop.getaddrinfo` is not used: its threads are joined when the loop or the process ends, and a silent
name server keeps each of them for 10 s and more, while the daemon must stop within 2 s. Here every look-up
has its own daemon thread, which is simply left behind when its deadline has passed. It ends after half a
minute, or several with many search domains, so those for one name are counted: peers are dialled every second
while networks come and go.
"""

import asyncio
import contextlib
import socket
import threading
from typing import NamedTuple

from pineconed.transport.authority import host_port

MAX_UNANSWERED = 8
"""Look-ups of one name that may be under way or left behind."""


class SocketAddress(NamedTuple):
    """One result of a look-up: what `socket.socket` and `bind` or `connect` take."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class ResolveError(OSError):
    """The name has no address, or nobody answered in time; the message says which in plain English."""


async def resolve(host: str, port: int, timeout: float) -> list[SocketAddress]:
    """All addresses of a host name or a literal address, in the resolver's order, asked afresh at each call.

    ResolveError after `timeout` seconds, when the name has none, or when name servers still owe the answers
    to `MAX_UNANSWERED` such look-ups. A literal is never put in a queue.
    """
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass  # a name, or nothing at all: the resolver will say
    try:
        async with asyncio.timeout(timeout):
            return await _in_daemon_thread(host, port)
    except TimeoutError as error:
        raise ResolveError(f"no name server told the address of {host!r} within {timeout:g} s") from error
    except ResolveError:
        raise
    except (OSError, UnicodeError) as error:
        if zone := host.partition("%")[2]:
            raise ResolveError(f"there is no network interface {zone}; `ip link` lists them") from error
        raise ResolveError(f"cannot find the address of {host!r}: {_reason(error)}") from error


def printable(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """A socket address as `host:port`; an IPv4 peer of a dual-stack socket is written as IPv4."""
    host, port = sockaddr[0].removeprefix("::ffff:"), sockaddr[1]
    zone = sockaddr[3] if len(sockaddr) > 2 else 0
    if zone and "%" not in host:
        host = f"{host}%{_zone_name(zone)}"
    return host_port(host, port)


def _look_up(host: str, port: int, flags: int = 0) -> list[SocketAddress]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [SocketAddress(family, address) for family, _, _, _, address in found]  # type: ignore[arg-type]


async def _in_daemon_thread(host: str, port: int) -> list[SocketAddress]:
    name = f"resolve {host}"
    if sum(thread.name == name for thread in threading.enumerate()) >= MAX_UNANSWERED:
        raise ResolveError(
            f"no name server has answered {MAX_UNANSWERED} questions for the address of {host!r}"
        )
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[SocketAddress]] = loop.create_future()

    def hand_over(result: list[SocketAddress] | Exception) -> None:
        if done.done():
            return
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

    def ask() -> None:
        result: list[SocketAddress] | Exception
        try:
            result = _look_up(host, port)
        except (OSError, UnicodeError) as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop was closed while we asked
            loop.call_soon_threadsafe(hand_over, result)

    threading.Thread(target=ask, name=name, daemon=True).start()
    return await done


def _reason(error: OSError | UnicodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _zone_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
