# SPDX-License-Identifier: Apache-2.0
"""The certificate holds the node's key and nothing that changes; others are refused."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from pineconed.transport.tls.certificate import CertificateError, client_context, key_of, server_tls
from pineconed.transport.tls.stream import Records
from tests.unit.transport.tls.pairs import SERVER, SERVER_SEED, SERVER_TLS, shaken


def test_the_certificate_is_that_of_the_node_at_every_start() -> None:
    assert key_of(SERVER_TLS.certificate) == SERVER.public_key
    assert server_tls(SERVER_SEED).certificate == SERVER_TLS.certificate
    certificate = x509.load_der_x509_certificate(SERVER_TLS.certificate)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc.year == 9999


def test_nothing_older_than_tls_13_and_no_tickets() -> None:
    for context in (SERVER_TLS.context, client_context()):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert SERVER_TLS.context.num_tickets == 0


@pytest.mark.parametrize("expensive", ["secp521r1", "secp384r1"])
def test_the_client_cannot_choose_how_keys_are_agreed_on(expensive: str) -> None:
    """Of the groups of OpenSSL, ffdhe8192 costs the server 500 times as much; Python cannot ask for it."""
    context = client_context()
    context.set_ecdh_curve(expensive)
    client, server = Records(context, server_side=False), Records(SERVER_TLS.context, server_side=True)
    with pytest.raises(ssl.SSLError, match=r"NO_SUITABLE_KEY_SHARE|NO_SHARED_GROUP"):
        shaken(client, server)


def test_our_own_nodes_agree_in_one_round_trip() -> None:
    client = Records(client_context(), server_side=False)
    server = Records(SERVER_TLS.context, server_side=True)
    with suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    server.incoming.write(client.outgoing.read())
    with suppress(ssl.SSLWantReadError):
        server.tls.do_handshake()
    client.incoming.write(server.outgoing.read())
    client.tls.do_handshake()


def test_a_certificate_with_another_kind_of_key_is_refused() -> None:
    key = generate_private_key(SECP256R1())
    name = x509.Name([])
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    ).sign(key, hashes.SHA256())
    with pytest.raises(CertificateError, match="no Ed25519 key"):
        key_of(certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize("data", [b"", b"\x30\x03\2\1\0", bytes(400)])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        key_of(data)
