# SPDX-License-Identifier: Apache-2.0
"""Keys and addresses as people write them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.admin.identifier import IdentifierError, address_text, parse_identifier
from pineconed.overlay.address import address_of, destination_key_of


@given(st.binary(min_size=32, max_size=32))
def test_agrees_with_the_overlay(public_key: bytes) -> None:
    assert ipaddress.IPv6Address(address_text(public_key)).packed == address_of(public_key)
    assert parse_identifier(address_text(public_key)).key == destination_key_of(address_of(public_key))


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_exact_and_an_address_is_not(public_key: bytes) -> None:
    by_key = parse_identifier(f" {public_key.hex().upper()}\n")
    by_address = parse_identifier(by_key.address)
    assert (by_key.key, by_key.exact) == (public_key, True)
    assert (by_address.prefix, by_address.exact) == (public_key[:15], False)
    assert by_address.address == by_key.address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "64 hexadecimal digits, this has 0"),
        ("ab" * 31, "this has 62"),
        ("ab" * 33, "this has 66"),
        ("zz" * 32, "neither hexadecimal"),
        ("\u0661" * 64, "neither hexadecimal"),
        ("2001:db8::1", "begin with fd"),
        ("fc00::1", "begin with fd"),
        ("fd00::1/128", "not an IPv6 address"),
        ("fd00:::1", "not an IPv6 address"),
    ],
)
def test_what_is_neither_is_told_why(text: str, says: str) -> None:
    with pytest.raises(IdentifierError, match=says):
        parse_identifier(text)
