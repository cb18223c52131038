# SPDX-License-Identifier: Apache-2.0
"""Opens the sockets of pineconectl: the one that controls the daemon, and the one for everybody."""

from contextlib import AsyncExitStack

from pineconed.admin.errors import AdminSocketError
from pineconed.admin.handlers import AdminBackend
from pineconed.admin.listener import STATUS
from pineconed.daemon.config import AdminSection
from pineconed.daemon.errors import StartError
from pineconed.daemon.lock import claim_socket
from pineconed.daemon.time_source import read_now


def claim_sockets(admin: AdminSection, parts: AsyncExitStack) -> None:
    """Make the sockets' paths ours until `parts` are closed. StartError when another daemon has one."""
    if admin.enabled:
        parts.callback(claim_socket(admin.socket).release)
        if admin.status_path is not None:
            parts.callback(claim_socket(admin.status_path, STATUS).release)


async def open_sockets(admin: AdminSection, backend: AdminBackend, parts: AsyncExitStack) -> None:
    """Listen on the sockets until `parts` are closed. StartError when that cannot be."""
    from pineconed.admin.server import AdminServer  # noqa: PLC0415 (aiohttp: 0.3 s and 30 MB)
    from pineconed.admin.status_server import StatusServer  # noqa: PLC0415

    server = AdminServer(backend, admin.socket, admin.mode_bits, admin.group_name)
    try:
        await server.start()
        parts.push_async_callback(server.close)
        if admin.status_path is not None:
            for_all = StatusServer(backend, admin.status_path, lambda: read_now().seconds)
            for_all.start()
            parts.push_async_callback(for_all.close)
    except AdminSocketError as error:
        raise StartError(f"{error}; {error.remedy}") from error
