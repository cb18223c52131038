# SPDX-License-Identifier: Apache-2.0
"""How people name a node: by public key or by overlay address (protocol section 11).

Only the standard library, so that pineconectl can turn keys into addresses without a daemon and fast.
"""

import ipaddress
import string
from dataclasses import dataclass

KEY_LENGTH = 32
PREFIX_LENGTH = 15
ADDRESS_BYTE = b"\xfd"


class IdentifierError(ValueError):
    """The text is neither a public key nor an overlay address; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A node as far as it was named: `key` is 32 bytes, of which an address tells the first 15.

    `exact` says that the whole key is known; else zeros stand for the rest, as in frames.
    """

    key: bytes
    exact: bool

    @property
    def prefix(self) -> bytes:
        """The 15 bytes that key and address share."""
        return self.key[:PREFIX_LENGTH]

    @property
    def address(self) -> str:
        """The overlay address as text."""
        return address_text(self.key)


def address_text(key: bytes) -> str:
    """The overlay address of a public key: `fd` and the key's first 15 bytes."""
    return str(ipaddress.IPv6Address(ADDRESS_BYTE + key[:PREFIX_LENGTH]))


def parse_identifier(text: str) -> Identifier:
    """Read a public key in hexadecimal or an overlay address; raises IdentifierError."""
    text = text.strip()
    if ":" in text:
        return _parse_address(text)
    return _parse_key(text)


def _parse_key(text: str) -> Identifier:
    if not set(text) <= set(string.hexdigits):
        raise IdentifierError(f"'{text}' is neither hexadecimal digits nor an IPv6 address")
    if len(text) != 2 * KEY_LENGTH:
        raise IdentifierError(f"a public key has {2 * KEY_LENGTH} hexadecimal digits, this has {len(text)}")
    return Identifier(bytes.fromhex(text), exact=True)


def _parse_address(text: str) -> Identifier:
    try:
        packed = ipaddress.IPv6Address(text).packed
    except ValueError:
        raise IdentifierError(f"'{text}' is not an IPv6 address") from None
    if packed[:1] != ADDRESS_BYTE:
        raise IdentifierError(f"'{text}' is not an overlay address: those begin with fd")
    return Identifier(packed[1:].ljust(KEY_LENGTH, b"\0"), exact=False)
