# SPDX-License-Identifier: Apache-2.0
"""What both ends say inside TLS before the handshake, byte by byte (protocol section 10).

    server   u8 version, u8 flags, 32 random bytes
    client   u8 version, u8 flags, key, signature over T, and with a password HMAC(K, "client" + T)
    server   u8 reason; if it is 0 and there is a password: HMAC(K, "server" + T)

T binds the proof to this connection: the server's random bytes, its certificate, the client's key.
"""

import hashlib
import hmac
from enum import IntEnum
from typing import NamedTuple

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

VERSION = 1
PASSWORD = 1
"""The flag: the server wants a password, the client proves one."""

NONCE_LENGTH = 32
HELLO_LENGTH = 2 + NONCE_LENGTH
CLAIM_LENGTH = 2 + 32 + 64
PROOF_LENGTH = 32

_LABEL = b"pineconed tls client 1"
_SALT = b"pineconed peering"
_ITERATIONS = 3
_MEMORY_KIB = 64 * 1024


class Reason(IntEnum):
    """The server's answer."""

    WELCOME = 0
    SIGNATURE = 1
    PASSWORD = 2
    NOT_ALLOWED = 3
    FULL = 4


class ProofError(ValueError):
    """Bytes that are none of these messages."""


class Hello(NamedTuple):
    """The server's first message."""

    wants_password: bool
    nonce: bytes


class Claim(NamedTuple):
    """The client's message without its password proof, which follows if `has_password`."""

    has_password: bool
    public_key: bytes
    signature: bytes


def encode_hello(hello: Hello) -> bytes:
    """34 bytes."""
    return bytes([VERSION, PASSWORD if hello.wants_password else 0]) + hello.nonce


def decode_hello(data: bytes) -> Hello:
    """What the server said; unknown flags are ignored. ProofError on another version."""
    _check_version(data, HELLO_LENGTH)
    return Hello(bool(data[1] & PASSWORD), data[2:])


def encode_claim(claim: Claim) -> bytes:
    """98 bytes."""
    return bytes([VERSION, PASSWORD if claim.has_password else 0]) + claim.public_key + claim.signature


def decode_claim(data: bytes) -> Claim:
    """What the client said; unknown flags are ignored. ProofError on another version."""
    _check_version(data, CLAIM_LENGTH)
    return Claim(bool(data[1] & PASSWORD), data[2:34], data[34:])


def _check_version(data: bytes, length: int) -> None:
    if len(data) != length:
        raise ProofError(f"{len(data)} bytes, not {length}")
    if data[0] != VERSION:
        raise ProofError(f"version {data[0]} of TLS peerings, not {VERSION}")


def transcript(nonce: bytes, certificate: bytes, client_key: bytes) -> bytes:
    """T, which the client signs; `certificate` is the server's in DER."""
    return _LABEL + nonce + hashlib.sha256(certificate).digest() + client_key


def password_key(password: str) -> bytes:
    """K, from which both proofs are made: Argon2id with 3 passes over 64 MiB (RFC 9106); takes 0.2 s."""
    derivation = Argon2id(salt=_SALT, length=32, iterations=_ITERATIONS, lanes=1, memory_cost=_MEMORY_KIB)
    return derivation.derive(password.encode())


def client_proof(key: bytes, told: bytes) -> bytes:
    """How the client shows that it knows the password; `told` is T."""
    return hmac.digest(key, b"client" + told, "sha256")


def server_proof(key: bytes, told: bytes) -> bytes:
    """How the server shows that it knows the password; `told` is T."""
    return hmac.digest(key, b"server" + told, "sha256")


def is_proof(given: bytes, right: bytes) -> bool:
    """Whether the two are the same, in a time that tells nothing."""
    return hmac.compare_digest(given, right)
