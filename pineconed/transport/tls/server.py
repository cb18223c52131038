# SPDX-License-Identifier: Apache-2.0
"""The server of TLS peerings: lets nobody come as far as the handshake who has not proved a key."""

import asyncio
import secrets
import socket
from functools import partial

from pineconed.peering.peering import HANDSHAKE_TIMEOUT
from pineconed.signing import verify_ed25519
from pineconed.transport.gate import GAVE_WAY, Visit
from pineconed.transport.service import Intake
from pineconed.transport.tcp import plain_reason
from pineconed.transport.tls.certificate import ServerTls
from pineconed.transport.tls.phase import Phase, PhaseError
from pineconed.transport.tls.proof import (
    CLAIM_LENGTH,
    NONCE_LENGTH,
    PROOF_LENGTH,
    Claim,
    Hello,
    ProofError,
    Reason,
    client_proof,
    decode_claim,
    encode_hello,
    is_proof,
    password_key,
    server_proof,
    transcript,
)
from pineconed.transport.tls.stream import Records, TlsStream
from pineconed.transport.visitors import Visitors

_TOO_SLOW = f"no TLS handshake and proof within {HANDSHAKE_TIMEOUT:g} s"
_PLAIN = "its URI has to begin with tls://"


class Refused(Exception):  # noqa: N818  (it is our answer, not an error)
    """The client may not come in: what it is told, and the words for the log."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class TlsService:
    """Serves one listener, with a password if there is one; made inside the running loop."""

    def __init__(self, intake: Intake, tls: ServerTls, password: str | None = None) -> None:
        self._intake = intake
        self._tls = tls
        self._visitors = Visitors()
        self._password_key: asyncio.Task[bytes] | None = None
        if password is not None:
            self._password_key = asyncio.ensure_future(asyncio.to_thread(password_key, password))

    def serve(self, accepted: socket.socket, remote: str, visit: Visit) -> None:
        """Hear the client out in a task of its own, 10 s at most."""
        proving = self._prove_in_time(accepted, remote)
        self._visitors.hear(visit, proving, partial(self._decide, accepted, remote, visit))

    def reload(self) -> None:
        """There are no files."""

    async def close(self) -> None:
        """Send everybody away who has not come in yet."""
        await self._visitors.close()
        if self._password_key is not None:
            await asyncio.gather(self._password_key, return_exceptions=True)

    def _decide(
        self, accepted: socket.socket, remote: str, visit: Visit, task: asyncio.Task[TlsStream]
    ) -> None:
        error = None if task.cancelled() else task.exception()
        # Also one that has just proved itself may have done so by rules that a reload has changed.
        if not task.cancelled() and error is None and not self._visitors.closing:
            self._intake.attach(task.result(), visit)
            return
        accepted.close()
        self._intake.fail(remote, visit, _words(error) if error is not None else self._why_cancelled())

    def _why_cancelled(self) -> str:
        return "the listener was closed" if self._visitors.closing else GAVE_WAY

    async def _prove_in_time(self, accepted: socket.socket, remote: str) -> TlsStream:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            return await self._prove(accepted, remote)

    async def _prove(self, accepted: socket.socket, remote: str) -> TlsStream:
        """Both proofs, after which the client is who its key says."""
        phase = Phase(accepted, Records(self._tls.context, server_side=True), _PLAIN)
        await phase.shake_hands()
        key = await asyncio.shield(self._password_key) if self._password_key is not None else None
        nonce = secrets.token_bytes(NONCE_LENGTH)
        await phase.write(encode_hello(Hello(key is not None, nonce)))
        claim = decode_claim(await phase.read(CLAIM_LENGTH))
        proof = await phase.read(PROOF_LENGTH) if claim.has_password else None
        told = transcript(nonce, self._tls.certificate, claim.public_key)
        try:
            self._check(claim, proof, told, key)
        except Refused as refusal:
            await phase.write(bytes([refusal.reason]))
            raise
        await phase.write(bytes([Reason.WELCOME]) + (server_proof(key, told) if key is not None else b""))
        return phase.stream(remote, claim.public_key)

    def _check(self, claim: Claim, proof: bytes | None, told: bytes, key: bytes | None) -> None:
        """Refused unless this client may come in."""
        who = claim.public_key.hex()
        if not verify_ed25519(claim.public_key, told, claim.signature):
            raise Refused(
                Reason.SIGNATURE,
                f"the proof of the key {who} is none for this connection: replayed or relayed",
            )
        if key is not None and proof is None:
            raise Refused(Reason.PASSWORD, f"the node {who} gave no password")
        if key is not None and proof is not None and not is_proof(proof, client_proof(key, told)):
            raise Refused(Reason.PASSWORD, f"the node {who} gave a wrong password")
        if objection := self._intake.objection(claim.public_key):
            raise Refused(Reason.FULL if objection.full else Reason.NOT_ALLOWED, objection.text)


def _words(error: BaseException) -> str:
    match error:
        case TimeoutError() if error.errno is None:
            return _TOO_SLOW
        case OSError():
            return plain_reason(error)
        case PhaseError():
            return f"TLS peering refused: {error}"
        case ProofError() | Refused():
            return str(error)
        case _:
            return f"internal fault: {type(error).__name__}: {error}"
