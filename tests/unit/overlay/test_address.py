# SPDX-License-Identifier: Apache-2.0
"""Addresses, protocol section 11."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.overlay.address import address_of, destination_key_of, is_overlay_address
from tests.vectors_source import load_vectors


@pytest.mark.vectors
@pytest.mark.parametrize("vector", load_vectors("addresses"))
def test_vectors(vector: dict[str, Any]) -> None:
    assert address_of(bytes.fromhex(vector["public_key"])).hex() == vector["address"]


@given(st.binary(min_size=32, max_size=32))
def test_the_destination_key_is_what_the_address_shows(public_key: bytes) -> None:
    address = address_of(public_key)
    assert is_overlay_address(address)
    destination_key = destination_key_of(address)
    assert destination_key == public_key[:15] + bytes(17)
    assert address_of(destination_key) == address


@pytest.mark.parametrize("address", ["", "fd", "fd" * 15, "fd" * 17, "fc" + "00" * 15, "20" + "fd" * 15])
def test_other_addresses_have_no_destination_key(address: str) -> None:
    assert not is_overlay_address(bytes.fromhex(address))
    with pytest.raises(ValueError, match="fd00::/8"):
        destination_key_of(bytes.fromhex(address))
