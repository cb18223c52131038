# SPDX-License-Identifier: Apache-2.0
"""The symmetric half of a handshake (Noise sections 5.1 and 5.2) with ChaChaPoly and BLAKE2s."""

import hmac
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from pineconed.overlay.noise.errors import NoiseError

HASH_LENGTH = 32
TAG_LENGTH = 16
_HASH = "blake2s"


class SymmetricState:
    """Chaining key, handshake hash and, once there is a key, the cipher with its nonce."""

    __slots__ = ("_chaining_key", "_cipher", "_nonce", "hash")

    def __init__(self, protocol_name: bytes) -> None:
        fits = len(protocol_name) <= HASH_LENGTH
        self.hash = protocol_name.ljust(HASH_LENGTH, b"\0") if fits else blake2s(protocol_name).digest()
        self._chaining_key = self.hash
        self._cipher: ChaCha20Poly1305 | None = None
        self._nonce = 0

    def copy(self) -> "SymmetricState":
        """The same state, to go its own way."""
        copy = object.__new__(SymmetricState)
        copy.hash, copy._chaining_key = self.hash, self._chaining_key
        copy._cipher, copy._nonce = self._cipher, self._nonce
        return copy

    @property
    def has_key(self) -> bool:
        """Whether what is sent from now on is encrypted."""
        return self._cipher is not None

    def mix_hash(self, data: bytes) -> None:
        """Bind `data` to all that follows."""
        self.hash = blake2s(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        """Derive a new chaining key and a new cipher from a shared secret."""
        self._chaining_key, key = _hkdf(self._chaining_key, secret)
        self._cipher, self._nonce = ChaCha20Poly1305(key), 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """`plaintext` as it is sent: encrypted if there is a key."""
        if self._cipher is None:
            ciphertext = plaintext
        else:
            ciphertext = self._cipher.encrypt(self._next_nonce(), plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """What `encrypt_and_hash` was given; NoiseError when it is forged."""
        if self._cipher is None:
            plaintext = ciphertext
        else:
            try:
                plaintext = self._cipher.decrypt(self._next_nonce(), ciphertext, self.hash)
            except InvalidTag as error:
                raise NoiseError("forged or meant for another handshake") from error
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The transport keys: the first for what the initiator sends, the second for the responder."""
        return _hkdf(self._chaining_key, b"")

    def _next_nonce(self) -> bytes:
        nonce = b"\0\0\0\0" + self._nonce.to_bytes(8, "little")
        self._nonce += 1
        return nonce


def _hkdf(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (Noise section 4.3)."""
    temporary = hmac.digest(chaining_key, secret, _HASH)
    first = hmac.digest(temporary, b"\x01", _HASH)
    return first, hmac.digest(temporary, first + b"\x02", _HASH)
