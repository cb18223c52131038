# SPDX-License-Identifier: Apache-2.0
"""The TLS of a `wss` listener: its certificate, from PEM files, and who comes without."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

from pineconed.transport.key_agreement import GROUP
from pineconed.transport.listener import ListenError
from pineconed.transport.uri import PeerUri
from pineconed.wire.first_bytes import TLS_ALERT

_HANDSHAKE = 22  # the type of a client's first record (RFC 8446, section 5.1)
_DRAINED = 65_536


def server_tls(uri: PeerUri) -> ssl.SSLContext | None:
    """What the listener shows its clients; None for `ws`. ListenError names the file that is no good."""
    if uri.scheme == "ws":
        return None
    certificate, key = uri.options.cert, uri.options.certkey
    assert certificate is not None  # noqa: S101  (no URI of such a listener is without)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ecdh_curve(GROUP)
    context.options |= ssl.OP_NO_RENEGOTIATION
    for path in (certificate, key):
        _check_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ListenError(_objection(error, certificate, key)) from error
    return context


async def speaks_tls(accepted: socket.socket) -> bool:
    """Look at the first byte and leave it there; of one that says none and goes, TLS tells more."""
    loop, here = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(accepted.fileno(), here.set)
    try:
        await here.wait()
    finally:
        loop.remove_reader(accepted.fileno())
    try:
        first = accepted.recv(1, socket.MSG_PEEK)
    except OSError:
        return True
    return not first or first[0] == _HANDSHAKE


def answer_in_tls(accepted: socket.socket) -> None:
    """Let a client that speaks something else see that this is TLS; read it first, lest closing resets."""
    with contextlib.suppress(OSError):
        accepted.recv(_DRAINED)
        accepted.send(TLS_ALERT)


def _check_readable(path: str | None) -> None:
    try:
        if path is not None:
            Path(path).read_bytes()
    except OSError as error:
        remedy = "cert= and certkey= have to name files that the daemon's user may read"
        raise ListenError(f"cannot read {path}: {error.strerror}; {remedy}") from error


def _no_password() -> str:
    """OpenSSL asks on the terminal if nobody answers."""
    raise ValueError("the key is encrypted")


def _objection(error: Exception, certificate: str, key: str | None) -> str:
    where = key or certificate
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return f"the key in {where} has a password; store it without one, readable only by the daemon"
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key in {where} is not that of the certificate in {certificate}"
    if key is None:
        return f"{certificate} does not hold a certificate and its key in PEM form; name the key by certkey="
    return f"{certificate} holds no certificate or {key} no key in PEM form ({reason or error})"
