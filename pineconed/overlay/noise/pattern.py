# SPDX-License-Identifier: Apache-2.0
"""Handshake patterns: what each message carries and mixes in, in order."""

from dataclasses import dataclass
from enum import StrEnum


class Token(StrEnum):
    """One step of a message (Noise sections 5.3 and 7; e1 and ekem1: extension "hybrid forward secrecy")."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    E1 = "e1"
    EKEM1 = "ekem1"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with its ciphers: the initiator writes the even messages, the responder the odd ones."""

    protocol_name: bytes
    messages: tuple[tuple[Token, ...], ...]


XX = Pattern(
    b"Noise_XX_25519_ChaChaPoly_BLAKE2s",
    ((Token.E,), (Token.E, Token.EE, Token.S, Token.ES), (Token.S, Token.SE)),
)
"""Both sides send their static keys, encrypted; neither needs to know the other's beforehand."""

XXHFS = Pattern(
    b"Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    (
        (Token.E, Token.E1),
        (Token.E, Token.EE, Token.EKEM1, Token.S, Token.ES),
        (Token.S, Token.SE),
    ),
)
"""The same with a key encapsulation, so that the traffic stays secret when X25519 falls."""
