# SPDX-License-Identifier: Apache-2.0
"""Messages, handshake items, batches, ciphers: bytes to values and back."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.session.cipher import Cipher, aead, choose
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.items import Items, decode_items, encode_items
from pineconed.overlay.session.message import (
    MessageType,
    decode_counter,
    decode_header,
    encode_header,
    encode_unknown,
    pad_init,
)
from pineconed.overlay.session.plaintext import Delivery, read_batch
from pineconed.wire.coordinates import encode_coords
from pineconed.wire.errors import CodecError
from tests.unit.overlay.packets import OUTSIDE, OWN, PEER, ipv6
from tests.unit.wire.strategies import COORDS, KEYS

U32 = st.integers(0, 2**32 - 1)
MAYBE_U16 = st.none() | st.integers(0, 0xFFFF)
ITEMS = st.builds(
    Items,
    KEYS,
    st.binary(max_size=5),
    st.none() | COORDS.map(encode_coords),
    MAYBE_U16,
    st.none() | st.binary(max_size=100),
    st.none() | U32,
    U32,
)


@given(st.sampled_from(MessageType), U32)
def test_headers(message_type: MessageType, index: int) -> None:
    header = encode_header(message_type, index)
    assert header == bytes([message_type, 0, 0, 0]) + index.to_bytes(4)
    assert decode_header(header + b"more") == (message_type, index)


@given(U32, st.integers(0, 2**64 - 1))
def test_unknown(index: int, counter: int) -> None:
    message = encode_unknown(index, counter)
    assert len(message) == 16
    assert decode_header(message) == (MessageType.UNKNOWN, index)
    assert decode_counter(message) == counter


def test_headers_that_are_none() -> None:
    for message in (b"", b"\x01\x00\x00\x00\x00\x00\x00", b"\x01\x00\x00\x01\x00\x00\x00\x00"):
        with pytest.raises(CodecError):
            decode_header(message)
    with pytest.raises(CodecError):
        decode_counter(bytes(15))


def test_an_init_is_padded() -> None:
    assert pad_init(b"init") == b"init" + bytes(1396)


@given(ITEMS)
def test_items_come_back(items: Items) -> None:
    assert decode_items(encode_items(items)) == items


def test_items_on_the_wire() -> None:
    items = Items(bytes(32), b"\x01\x02", b"\x00\x01\x07", 1280, b"p", 0xDEADBEEF, 3)
    assert (
        encode_items(items).hex()
        == (
            "010020"
            + "00" * 32
            + "0200020102"
            + "030003000107"
            + "0400020500"
            + "06000170"
            + "070004deadbeef"
        )
        + "08000400000003"
    )


def test_unknown_items_are_skipped() -> None:
    known = encode_items(Items(bytes(32)))
    assert decode_items(b"\x05\x00\x01x" + known + b"\xff\x00\x00") == Items(bytes(32))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "01",
        "0100",
        "010021" + "00" * 32,
        "01001f" + "00" * 31,
        "020001" + "01",
        ("010020" + "00" * 32) * 2,
        "010020" + "00" * 32 + "040003000000",
        "010020" + "00" * 32 + "0700020000",
        "010020" + "00" * 32 + "0800020000",
        "010020" + "00" * 32 + "030003000207",
        "010020" + "00" * 32 + "03000400010707",
        "010020" + "00" * 32 + "030003000180",
    ],
)
def test_items_that_are_refused(payload: str) -> None:
    with pytest.raises(CodecError):
        decode_items(bytes.fromhex(payload))


@given(st.binary(max_size=200))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    with suppress(CodecError):
        decode_items(payload)


def test_an_item_has_a_limit() -> None:
    with pytest.raises(CodecError, match="65536"):
        encode_items(Items(bytes(32), packet=bytes(65536)))


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        (b"\x01\x02", b"\x01\x02", Cipher.AES_256_GCM),
        (b"\x01", b"\x01\x09", Cipher.AES_256_GCM),
        (b"\x01\x02", b"\x02\x01", Cipher.CHACHA20_POLY1305),
        (b"\x02\x01", b"\x01\x02", Cipher.CHACHA20_POLY1305),
        (b"\x01", b"", Cipher.CHACHA20_POLY1305),
        (b"", b"\x01", Cipher.CHACHA20_POLY1305),
        (b"\x07", b"\x07", Cipher.CHACHA20_POLY1305),
    ],
)
def test_the_choice_of_the_cipher(ours: bytes, theirs: bytes, chosen: Cipher) -> None:
    assert choose(ours, theirs) is choose(theirs, ours) is chosen


@pytest.mark.parametrize("cipher", Cipher)
def test_ciphers_add_16_bytes(cipher: Cipher) -> None:
    one = aead(cipher, bytes(32))
    sealed = one.encrypt(bytes(12), b"text", b"bound")
    assert len(sealed) == 20
    assert one.decrypt(bytes(12), sealed, b"bound") == b"text"


def _read(plaintext: bytes) -> tuple[list[bytes], SessionDrop | None]:
    packets: list[Delivery] = []
    flaw = read_batch(plaintext, PEER + OWN, packets)
    return [bytes(packet) for packet in packets if not isinstance(packet, tuple)], flaw


@given(st.lists(st.binary(max_size=100).map(lambda payload: ipv6(PEER, OWN, payload)), max_size=8))
def test_batches_come_apart(packets: list[bytes]) -> None:
    assert _read(b"".join(packets)) == (packets, None)


GOOD = ipv6(PEER, OWN, b"good")


@pytest.mark.parametrize(
    ("rest", "flaw"),
    [
        (b"\x60", SessionDrop.PLAINTEXT_MALFORMED),
        (GOOD[:-1], SessionDrop.PLAINTEXT_MALFORMED),
        (b"\x45" + GOOD[1:], SessionDrop.PLAINTEXT_MALFORMED),
        (ipv6(OWN, OWN), SessionDrop.IN_FOREIGN_SOURCE),
        (ipv6(OUTSIDE, OUTSIDE), SessionDrop.IN_FOREIGN_SOURCE),
        (ipv6(PEER, PEER), SessionDrop.IN_FOREIGN_DESTINATION),
    ],
)
def test_the_first_that_does_not_fit_ends_a_batch(rest: bytes, flaw: SessionDrop) -> None:
    assert _read(GOOD + GOOD + rest) == ([GOOD, GOOD], flaw)
    assert _read(rest) == ([], flaw)


def test_nothing_behind_it_is_read() -> None:
    assert _read(GOOD + ipv6(OWN, OWN) + GOOD) == ([GOOD], SessionDrop.IN_FOREIGN_SOURCE)


@given(st.binary(max_size=150))
def test_any_plaintext_is_read_or_refused(plaintext: bytes) -> None:
    packets, flaw = _read(plaintext)
    assert b"".join(packets) == plaintext or flaw is not None
