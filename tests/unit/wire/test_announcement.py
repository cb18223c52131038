# SPDX-License-Identifier: Apache-2.0
"""Tree announcements, protocol section 4."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.signing import Ed25519Signer, verify_ed25519
from pineconed.wire.announcement import (
    Announcement,
    Hop,
    append_hop,
    decode_announcement,
    encode_announcement,
    iter_signed,
)
from pineconed.wire.errors import CodecError
from pineconed.wire.root import Root, encode_root
from tests.unit.wire.strategies import ANNOUNCEMENTS, mutated
from tests.vectors_source import load_vectors

SIGNERS = [Ed25519Signer(bytes([number]) * 32) for number in range(4)]
KEYS = [signer.public_key for signer in SIGNERS]


def _signed(*ports: int) -> Announcement:
    announcement = Announcement(Root(KEYS[0], 3), ())
    for port, signer in zip(ports, SIGNERS, strict=False):
        announcement = append_hop(announcement, port, signer)
    return announcement


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("tree_announcements"))
def test_vectors(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    announcement = decode_announcement(encoded)
    assert encode_announcement(announcement) == encoded
    assert announcement.root == (bytes.fromhex(vector["root_public_key"]), vector["root_sequence"])
    assert announcement.coords == tuple(vector["coords"])
    assert announcement.peer_coords == tuple(vector["peer_coords"])
    assert [key.hex() for key in announcement.signers] == [hop["public_key"] for hop in vector["hops"]]
    for public_key, message, signature, _ in iter_signed(announcement):
        assert verify_ed25519(public_key, message, signature)


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("tree_announcements"))
def test_signing_again_gives_the_same_bytes(vector: dict[str, Any]) -> None:
    announcement = Announcement(Root(bytes.fromhex(vector["root_public_key"]), vector["root_sequence"]), ())
    for hop in vector["hops"]:
        announcement = append_hop(announcement, hop["port"], Ed25519Signer(bytes.fromhex(hop["seed"])))
    assert encode_announcement(announcement).hex() == vector["hex"]


@given(ANNOUNCEMENTS, st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip(announcement: Announcement, buffer: Any) -> None:
    encoded = buffer(encode_announcement(announcement))
    assert decode_announcement(encoded) == announcement


@given(st.data())
def test_any_bytes_parse_or_raise_the_one_error(data: st.DataObject) -> None:
    encoded = data.draw(mutated(encode_announcement(data.draw(ANNOUNCEMENTS))))
    try:
        announcement = decode_announcement(encoded)
    except CodecError:
        return
    again = encode_announcement(announcement)
    assert encoded.startswith(again)
    assert len(encoded) - len(again) < 97


def test_fewer_than_97_bytes_behind_the_last_hop_are_no_hop() -> None:
    announcement = _signed(1, 200)
    encoded = encode_announcement(announcement)
    assert decode_announcement(encoded + bytes(96)) == announcement
    assert decode_announcement(encoded + bytes(97)).hops[-1] == Hop(0, bytes(32), bytes(64))


def test_a_hop_cut_off() -> None:
    encoded = encode_announcement(_signed(1, 200))
    assert len(decode_announcement(encoded[:-2]).hops) == 1
    with pytest.raises(CodecError, match="hop cut off"):
        decode_announcement(encoded[:-1])


@pytest.mark.parametrize("length", [0, 31, 32])
def test_a_root_cut_off(length: int) -> None:
    with pytest.raises(CodecError, match="cut off"):
        decode_announcement(bytes(length))


def test_integers_that_are_not_minimal() -> None:
    announcement = _signed(1)
    encoded, root = encode_announcement(announcement), encode_root(announcement.root)
    for padded in (root[:32] + b"\x80" + encoded[32:], root + b"\x80" + encoded[len(root) :]):
        with pytest.raises(CodecError, match="not minimal"):
            decode_announcement(padded)


@pytest.mark.parametrize(
    "hop", [Hop(-1, bytes(32), bytes(64)), Hop(1, bytes(31), bytes(64)), Hop(1, bytes(32), bytes(65))]
)
def test_hops_without_an_encoding(hop: Hop) -> None:
    with pytest.raises(CodecError):
        encode_announcement(Announcement(Root(bytes(32), 0), (hop,)))


def test_coords_are_the_ports() -> None:
    announcement = _signed(4, 200, 7)
    assert announcement.coords == (4, 200, 7)
    assert announcement.peer_coords == (4, 200)
    assert announcement.signers == tuple(KEYS[:3])
    assert Announcement(announcement.root, ()).peer_coords == ()


def test_loops() -> None:
    announcement = _signed(4, 200)
    assert not announcement.has_loop(KEYS[3])
    assert announcement.has_loop(KEYS[0])
    assert announcement.has_loop(KEYS[1])
    assert append_hop(announcement, 5, SIGNERS[0]).has_loop(KEYS[3])


def test_a_signature_covers_what_is_before_its_hop() -> None:
    announcement = _signed(4, 200)
    for hop, (public_key, message, signature, _) in zip(
        announcement.hops, iter_signed(announcement), strict=True
    ):
        before = announcement.hops[: announcement.hops.index(hop)]
        assert (public_key, signature) == (hop.public_key, hop.signature)
        assert message == encode_announcement(Announcement(announcement.root, before))
        assert verify_ed25519(public_key, message, signature)


def test_one_signature_serves_every_port() -> None:
    announcement = _signed(4)
    signatures = {append_hop(announcement, port, SIGNERS[1]).hops[-1].signature for port in (1, 200, 253)}
    assert len(signatures) == 1


@given(ANNOUNCEMENTS)
def test_prefix_digests_are_those_of_the_shorter_announcements(announcement: Announcement) -> None:
    for number, (_, _, _, digest) in enumerate(iter_signed(announcement), start=1):
        prefix = Announcement(announcement.root, announcement.hops[:number])
        assert digest == hashlib.blake2b(encode_announcement(prefix), digest_size=32).digest()
