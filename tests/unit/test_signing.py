# SPDX-License-Identifier: Apache-2.0
"""Ed25519 by the rules of protocol section 1."""

from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from pineconed.signing import Ed25519Signer, verify_ed25519

SMALL_ORDER = [
    bytes.fromhex(encoding)
    for encoding in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
"""The eight points whose order divides eight."""

NON_CANONICAL = [
    bytes.fromhex(encoding)
    for encoding in (
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
]
"""Other encodings of some of these: y at or above the field's prime, or the sign of x = 0 set."""

ORDER = 2**252 + 27742317777372353535851937790883648493
SIGNER = Ed25519Signer(b"\x01" * 32)


def _sodium_accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def _openssl_accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _signatures_without_a_private_key(public_key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Messages with signatures of S = 0 and a small-order R; some hold if the key has small order too."""
    for r in SMALL_ORDER + NON_CANONICAL:
        for number in range(24):
            yield bytes([number]), r + bytes(32)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(min_size=1, max_size=10))
def test_a_signature_holds_for_its_message_and_key_only(seed: bytes, message: bytes, more: bytes) -> None:
    signer = Ed25519Signer(seed)
    signature = signer.sign(message)
    assert (len(signer.public_key), len(signature)) == (32, 64)
    assert verify_ed25519(signer.public_key, message, signature)
    assert not verify_ed25519(signer.public_key, message + more, signature)
    if signer.public_key != SIGNER.public_key:
        assert not verify_ed25519(SIGNER.public_key, message, signature)


@given(st.integers(0, 511))
def test_a_signature_with_one_bit_flipped(bit: int) -> None:
    flipped = bytearray(SIGNER.sign(b"message"))
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify_ed25519(SIGNER.public_key, b"message", bytes(flipped))


def test_signing_is_deterministic() -> None:
    assert SIGNER.sign(b"message") == Ed25519Signer(b"\x01" * 32).sign(b"message")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="32"):
        Ed25519Signer(bytes(length))


@pytest.mark.parametrize("public_key", SMALL_ORDER + NON_CANONICAL, ids=bytes.hex)
def test_small_order_and_non_canonical_keys_are_judged_as_openssl_does(public_key: bytes) -> None:
    accepted = 0
    for message, signature in _signatures_without_a_private_key(public_key):
        verdict = verify_ed25519(public_key, message, signature)
        assert verdict == _openssl_accepts(public_key, message, signature)
        accepted += verdict
        assert not (verdict and signature[:32] in NON_CANONICAL), "R is compared as bytes"
    assert accepted > 0


@pytest.mark.parametrize("public_key", SMALL_ORDER[:1] + NON_CANONICAL[-2:], ids=bytes.hex)
def test_libsodium_alone_would_refuse_what_the_network_accepts(public_key: bytes) -> None:
    assert any(
        verify_ed25519(public_key, message, signature) and not _sodium_accepts(public_key, message, signature)
        for message, signature in _signatures_without_a_private_key(public_key)
    )


def test_s_must_be_below_the_group_order() -> None:
    signature = SIGNER.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify_ed25519(SIGNER.public_key, b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("public_key", "r", "s", "holds"),
    [
        # the key in the large subgroup, and a point of order eight added to R
        (
            "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572",
            "0aa8f8c4c75329bbcdb85fc023aefa0f8c13e8ff39ace6a251fa3dab96646359",
            "8113bd662f86f59cb34ee60c29a99ad30b0be6401fc9bef48fcb95f10974af01",
            False,
        ),
        # the same point added to the key
        (
            "6a84d583f06569edb3f5ed77df65544b27d6948b4f0b2cb76f33dd8413b20719",
            "b1657d0ffaa3ee0c552da862600d3b299e538fb244954edcc40ec12ec0989796",
            "232d9873eac6b3b24d2e14f150c616a3d0652d309b2be08cf686862e999ad702",
            False,
        ),
        # seven times and three times that point added to R and to the key: here the two cancel out
        (
            "b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b",
            "634ab1cbf21974d4406b93ee4e8fefad75d129ceb0874c6983547e45dcf2392d",
            "9e271e2a7e38076a1d539da5ed921f3d2600abaa9500a1a491593cc18fee060b",
            True,
        ),
    ],
)
def test_nothing_is_multiplied_by_the_cofactor(public_key: str, r: str, s: str, holds: bool) -> None:
    """A verifier that multiplies by eight would accept all three; Go and OpenSSL accept only the last."""
    arguments = bytes.fromhex(public_key), b"hello", bytes.fromhex(r + s)
    assert _openssl_accepts(*arguments) is holds
    assert verify_ed25519(*arguments) is holds


def test_a_key_that_is_no_point() -> None:
    no_point = b"\x02" + bytes(31)
    assert not _openssl_accepts(no_point, b"message", SIGNER.sign(b"message"))
    assert not verify_ed25519(no_point, b"message", SIGNER.sign(b"message"))


@pytest.mark.parametrize(("key_length", "signature_length"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_other_lengths_never_verify(key_length: int, signature_length: int) -> None:
    public_key = (SIGNER.public_key + b"\x00")[:key_length]
    signature = (SIGNER.sign(b"message") + b"\x00")[:signature_length]
    assert not verify_ed25519(public_key, b"message", signature)
