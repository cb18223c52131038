# SPDX-License-Identifier: Apache-2.0
"""What the passwords of TLS peers cost the one who dials."""

import asyncio

import pytest

from pineconed.transport.tcp import reach
from pineconed.transport.tls import client as client_module
from pineconed.transport.tls.client import TlsClient
from pineconed.transport.tls.proof import password_key
from pineconed.transport.uri_options import UriOptions
from tests.unit.transport.tls.house import House, run
from tests.unit.transport.tls.pairs import CLIENT
from tests.unit.waiting import until


def test_peers_that_share_a_password_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 64 MiB, and at the start all peers are dialled at once."""
    derived: list[str] = []

    def derive(password: str) -> bytes:
        derived.append(password)
        return password_key(password)

    async def check(house: House) -> None:
        monkeypatch.setattr(client_module, "password_key", derive)
        client = TlsClient(CLIENT)
        options = UriOptions(password="shared")
        reached = [await reach("127.0.0.1", house.port, 5) for _ in range(4)]
        streams = await asyncio.gather(*(client.connect(one, options, 5) for one in reached))
        assert derived == ["shared"]
        for stream in streams:
            stream.close()
        await until(lambda: len(house.streams) == 4)

    run(check, House("shared"))
