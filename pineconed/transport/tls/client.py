# SPDX-License-Identifier: Apache-2.0
"""The client of TLS peerings: knows whom it talks to before it says who it is."""

import asyncio
import ssl

from pineconed.signing import Signer
from pineconed.transport.tcp import ConnectError, Reached, plain_reason
from pineconed.transport.tls.certificate import CertificateError, client_context, key_of
from pineconed.transport.tls.phase import Phase, PhaseError
from pineconed.transport.tls.proof import (
    HELLO_LENGTH,
    PROOF_LENGTH,
    Claim,
    ProofError,
    Reason,
    client_proof,
    decode_hello,
    encode_claim,
    is_proof,
    password_key,
    server_proof,
    transcript,
)
from pineconed.transport.tls.stream import Records, TlsStream
from pineconed.transport.uri_options import UriOptions

_PLAIN = "the URI has to begin with tcp://"

_REFUSALS: dict[int, str] = {
    Reason.SIGNATURE: "the server refused the proof of this node's key: somebody in between relays it",
    Reason.NOT_ALLOWED: "the server does not allow this node's key",
    Reason.FULL: "the server has too many peers",
}


class TlsClient:
    """Makes TLS peerings of connected sockets, in the name of one node."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._context: ssl.SSLContext | None = None
        self._password_keys: dict[str, bytes] = {}
        self._deriving = asyncio.Lock()

    async def connect(self, reached: Reached, options: UriOptions, timeout: float) -> TlsStream:
        """Do all that comes before the handshake, within `timeout` seconds.

        ConnectError says why there is no stream; the socket is closed then.
        """
        try:
            key = await self._password_key(options.password)
            async with asyncio.timeout(timeout):
                return await self._prove(reached, options, key)
        except BaseException as error:
            reached.socket.close()
            if not isinstance(error, OSError | PhaseError | ProofError | CertificateError):
                raise
            words = plain_reason(error) if isinstance(error, OSError) else str(error)
            raise ConnectError(f"{reached.remote}: {words}") from error

    async def _prove(self, reached: Reached, options: UriOptions, key: bytes | None) -> TlsStream:
        if self._context is None:
            self._context = client_context()
        records = Records(self._context, server_side=False, server_name=options.sni)
        phase = Phase(reached.socket, records, _PLAIN)
        await phase.shake_hands()
        server_key = key_of(phase.peer_certificate)
        if options.keys and server_key not in options.keys:
            raise PhaseError(
                f"another node answered: its key {server_key.hex()} is not the one after key= in the URI"
            )
        hello = decode_hello(await phase.read(HELLO_LENGTH))
        if key is not None and not hello.wants_password:
            raise PhaseError("the server has no password, but the URI has one: it may be another server")
        told = transcript(hello.nonce, phase.peer_certificate, self._signer.public_key)
        claim = Claim(key is not None, self._signer.public_key, self._signer.sign(told))
        await phase.write(encode_claim(claim) + (client_proof(key, told) if key is not None else b""))
        await self._hear_answer(phase, key, told)
        return phase.stream(reached.remote, server_key)

    async def _hear_answer(self, phase: Phase, key: bytes | None, told: bytes) -> None:
        reason = (await phase.read(1))[0]
        if reason == Reason.PASSWORD:
            raise PhaseError(
                "the server wants a password: add password=... to the URI"
                if key is None
                else "the server refused the password"
            )
        if reason != Reason.WELCOME:
            raise PhaseError(_REFUSALS.get(reason) or f"the server refused this node for reason {reason}")
        if key is not None and not is_proof(await phase.read(PROOF_LENGTH), server_proof(key, told)):
            raise PhaseError("the server does not know the password: it is not the one it should be")

    async def _password_key(self, password: str | None) -> bytes | None:
        """Made once for each password, beside the loop, and one at a time, since each takes 64 MiB."""
        if password is None:
            return None
        async with self._deriving:
            if password not in self._password_keys:
                self._password_keys[password] = await asyncio.to_thread(password_key, password)
        return self._password_keys[password]
