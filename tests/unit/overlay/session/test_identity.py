# SPDX-License-Identifier: Apache-2.0
"""The Ed25519 key of a node and its X25519 form."""

import pytest
from nacl.signing import SigningKey

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.primitives import X25519
from pineconed.overlay.session.identity import Ed25519Identity, check_identity

SEED = bytes(range(32))
OTHER = Ed25519Identity(b"o" * 32)


def test_the_conversion_is_libsodiums() -> None:
    identity = Ed25519Identity(SEED)
    key = SigningKey(SEED)
    assert identity.public_key == bytes(key.verify_key)
    assert identity.static.public == bytes(key.to_curve25519_private_key().public_key)
    assert identity.static_of(OTHER.public_key) == OTHER.static.public
    pair = X25519().key_pair(bytes(key.to_curve25519_private_key()))
    assert pair.exchange(OTHER.static.public) == OTHER.static.exchange(pair.public)


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="31"):
        Ed25519Identity(bytes(31))


@pytest.mark.parametrize(
    "key",
    [bytes(32), b"\x01" + bytes(31), b"\x02" + bytes(31), b"\xff" * 32],
    ids=["order 4", "order 1", "not on the curve", "not canonical"],
)
def test_what_is_no_key(key: bytes) -> None:
    with pytest.raises(NoiseError, match="no Ed25519 key"):
        OTHER.static_of(key)


def test_a_node_is_who_it_claims_proves_and_is_named() -> None:
    own = Ed25519Identity(SEED)
    key, static = OTHER.public_key, OTHER.static.public
    check_identity(own, key, static, key)
    for claimed, proved, named in (
        (key, static, SEED),
        (SEED, static, SEED),
        (key, own.static.public, key),
        (own.public_key, own.static.public, own.public_key),
    ):
        with pytest.raises(NoiseError):
            check_identity(own, claimed, proved, named)


def test_the_sign_that_the_conversion_loses_is_told_by_the_frame() -> None:
    own = Ed25519Identity(SEED)
    key, static = OTHER.public_key, OTHER.static.public
    mirrored = key[:31] + bytes([key[31] ^ 0x80])
    assert own.static_of(mirrored) == static
    with pytest.raises(NoiseError, match="in a frame of"):
        check_identity(own, mirrored, static, key)
