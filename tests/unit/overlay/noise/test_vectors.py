# SPDX-License-Identifier: Apache-2.0
"""Noise_XX_25519_ChaChaPoly_BLAKE2s against the vectors that cacophony and snow publish."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from pineconed.overlay.noise.handshake import Handshake
from pineconed.overlay.noise.pattern import XX
from pineconed.overlay.noise.primitives import X25519, Suite

SUITE = Suite(X25519())
FILE = Path(__file__).parents[3] / "vectors" / "noise_xx.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text())


class _Fixed:
    """Randomness that is none."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __call__(self, length: int) -> bytes:
        assert length == len(self._value)
        return self._value


def _side(vector: dict[str, Any], name: str) -> Handshake:
    static = SUITE.dh.key_pair(bytes.fromhex(vector[f"{name}_static"]))
    prologue = bytes.fromhex(vector[f"{name}_prologue"])
    return Handshake(XX, SUITE, static, prologue, initiator=name == "init")


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["source"] for vector in VECTORS])
def test_every_message_and_the_transport_keys(vector: dict[str, Any]) -> None:
    sides = {name: _side(vector, name) for name in ("init", "resp")}
    names = ["init", "resp"]
    for message in vector["messages"][:3]:
        writer, reader = names
        entropy = _Fixed(bytes.fromhex(vector[f"{writer}_ephemeral"]))
        payload = bytes.fromhex(message["payload"])
        sent = sides[writer].write_message(payload, entropy)
        assert sent.hex() == message["ciphertext"]
        assert sides[reader].read_message(sent) == payload
        names.reverse()
    if "handshake_hash" in vector:
        assert {side.hash.hex() for side in sides.values()} == {vector["handshake_hash"]}
    sending, receiving = sides["init"].split()
    assert sides["resp"].split() == (receiving, sending)
    ciphers = [ChaCha20Poly1305(receiving), ChaCha20Poly1305(sending)]
    for number, message in enumerate(vector["messages"][3:]):
        nonce = bytes(4) + (number // 2).to_bytes(8, "little")
        sealed = ciphers[number % 2].encrypt(nonce, bytes.fromhex(message["payload"]), b"")
        assert sealed.hex() == message["ciphertext"]
