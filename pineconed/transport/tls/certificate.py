# SPDX-License-Identifier: Apache-2.0
"""Certificates and contexts: TLS 1.3 only, the server's key is the node's, nobody signs for anybody.

Names and dates in a certificate mean nothing here, so they are the same in every one, and none tells when a
daemon started. OpenSSL takes a certificate from a file only: it gets one that exists in memory.
"""

import os
import ssl
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pineconed.transport.key_agreement import GROUP

ALPN = "pinecone/1"

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pineconed")])
_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # "no end" of RFC 5280


class CertificateError(ValueError):
    """A certificate that no pineconed has."""


class ServerTls(NamedTuple):
    """What a server needs: its context and its certificate in DER."""

    context: ssl.SSLContext
    certificate: bytes


def server_tls(seed: bytes) -> ServerTls:
    """The server's side for the node with this 32-byte Ed25519 seed."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # every peering proves its keys; none is resumed
    key = Ed25519PrivateKey.from_private_bytes(seed)
    certificate = _self_signed(key)
    pem = certificate.public_bytes(Encoding.PEM)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.memfd_create("pineconed certificate")
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return ServerTls(context, certificate.public_bytes(Encoding.DER))


def client_context() -> ssl.SSLContext:
    """The client's side; it looks at the key in the server's certificate and at nothing else."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def key_of(certificate: bytes) -> bytes:
    """The Ed25519 key that a certificate in DER is for. CertificateError when it is for none."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:
        raise CertificateError("its certificate cannot be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateError("its certificate holds no Ed25519 key")
    return key.public_bytes_raw()


def _self_signed(key: Ed25519PrivateKey) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=_NAME,
        subject_name=_NAME,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=_FROM,
        not_valid_after=_UNTIL,
    )
    return builder.sign(key, None)


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve(GROUP)
    context.set_alpn_protocols([ALPN])
    return context
