# SPDX-License-Identifier: Apache-2.0
"""What a WebSocket listener says to requests that are none for a WebSocket. It tells nothing of the node."""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

SERVER = "pineconed"
"""What the listener calls itself, without a version."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Pinecone peering</title>
<p>This is where nodes of a Pinecone network connect to each other by WebSocket. There is nothing here for a
browser.</p>
</html>
"""


def page() -> web.Response:
    """For whoever looks in with a browser."""
    return _closing(web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS))


def health() -> web.Response:
    """For a load balancer: the listener answers."""
    return _closing(web.Response(text="ok\n", headers=_HEADERS))


def refusal(status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """For a request that cannot be served."""
    return _closing(web.Response(status=status, text=f"{reason}\n", headers={**_HEADERS, **(headers or {})}))


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
