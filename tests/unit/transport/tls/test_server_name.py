# SPDX-License-Identifier: Apache-2.0
"""The server name that the client of a TLS peering asks for."""

import asyncio

import pytest

from pineconed.transport.tcp import ConnectError, Reached
from pineconed.transport.tls.client import TlsClient
from pineconed.transport.uri_options import UriOptions
from tests.unit.transport.tls.pairs import CLIENT, unix_pair


@pytest.mark.parametrize("name", ["relay.example", None])
def test_the_server_is_asked_for_by_the_name_in_the_uri(name: str | None) -> None:
    """Somebody in front of several nodes tells by it whom a connection is for."""

    async def check() -> bytes:
        near, far = unix_pair()
        with far:
            with pytest.raises(ConnectError):
                await TlsClient(CLIENT).connect(Reached(near, "it"), UriOptions(sni=name), 0.1)
            return far.recv(4096)

    hello = asyncio.run(check())
    assert hello.startswith(b"\x16\x03")
    assert (b"relay.example" in hello) is (name is not None)
