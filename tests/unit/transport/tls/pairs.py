# SPDX-License-Identifier: Apache-2.0
"""TLS connections with the TLS handshake done."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pineconed.signing import Ed25519Signer
from pineconed.transport.stream import SocketStream
from pineconed.transport.tls.certificate import ServerTls, client_context, server_tls
from pineconed.transport.tls.stream import Records, TlsStream

SERVER_SEED, CLIENT_SEED = bytes([1]) * 32, bytes([2]) * 32
SERVER, CLIENT = Ed25519Signer(SERVER_SEED), Ed25519Signer(CLIENT_SEED)
SERVER_TLS: ServerTls = server_tls(SERVER_SEED)


def unix_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    return near, far


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def shaken(client: Records, server: Records) -> None:
    """Carry the TLS handshake between the two."""
    for _ in range(3):
        for one, other in ((client, server), (server, client)):
            with suppress(ssl.SSLWantReadError):
                one.tls.do_handshake()
            other.incoming.write(one.outgoing.read())


@contextmanager
def tls_pair(
    connect: Callable[[], tuple[socket.socket, socket.socket]] = unix_pair,
) -> Iterator[tuple[TlsStream, TlsStream]]:
    """The client's stream and the server's; without TCP what is sent is there at once."""
    near, far = connect()
    client = Records(client_context(), server_side=False)
    server = Records(SERVER_TLS.context, server_side=True)
    shaken(client, server)
    one = TlsStream(SocketStream(near, "server"), client, SERVER.public_key)
    two = TlsStream(SocketStream(far, "client"), server, CLIENT.public_key)
    try:
        yield one, two
    finally:
        one.close()
        two.close()
