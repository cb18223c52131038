# SPDX-License-Identifier: Apache-2.0
"""The handshake state machine (Noise section 5.3): messages in turn, then two transport keys."""

from typing import TypeVar

from pineconed.overlay.noise.errors import NoiseError
from pineconed.overlay.noise.pattern import Pattern, Token
from pineconed.overlay.noise.primitives import DH_LENGTH, Entropy, Kem, KemKeyPair, KeyPair, Suite
from pineconed.overlay.noise.symmetric import TAG_LENGTH, SymmetricState

_T = TypeVar("_T")


class Handshake:
    """One side of a handshake. Messages are written and read in turn, beginning with the initiator's.

    A message that is refused spoils the state: read what a stranger may have sent on a `copy`.
    """

    __slots__ = (
        "_ephemeral",
        "_ephemeral_kem",
        "_messages_done",
        "_remote_ephemeral",
        "_remote_kem",
        "_static",
        "_suite",
        "_symmetric",
        "initiator",
        "pattern",
        "remote_static",
    )

    def __init__(
        self, pattern: Pattern, suite: Suite, static: KeyPair, prologue: bytes, *, initiator: bool
    ) -> None:
        self.pattern = pattern
        self.initiator = initiator
        self.remote_static = b""
        """The other side's static key; empty until it was read."""
        self._suite = suite
        self._static = static
        self._symmetric = SymmetricState(pattern.protocol_name)
        self._symmetric.mix_hash(prologue)
        self._messages_done = 0
        self._ephemeral: KeyPair | None = None
        self._ephemeral_kem: KemKeyPair | None = None
        self._remote_ephemeral = b""
        self._remote_kem = b""

    def copy(self) -> "Handshake":
        """The same state, to go its own way; the key pairs are shared."""
        copy = object.__new__(Handshake)
        for name in Handshake.__slots__:
            setattr(copy, name, getattr(self, name))
        copy._symmetric = self._symmetric.copy()
        return copy

    @property
    def finished(self) -> bool:
        """Whether all messages were written and read."""
        return self._messages_done == len(self.pattern.messages)

    @property
    def hash(self) -> bytes:
        """The hash of all that was said; the same on both sides."""
        return self._symmetric.hash

    def write_message(self, payload: bytes, entropy: Entropy) -> bytes:
        """Our next message, with `payload` in it; ValueError when it is not our turn.

        NoiseError when a key that the other side sent is no key.
        """
        parts = [self._write(token, entropy) for token in self._next_tokens(writing=True)]
        parts.append(self._symmetric.encrypt_and_hash(payload))
        return b"".join(parts)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the other side's next message; NoiseError when it is refused.

        ValueError when it is not their turn.
        """
        return self.read_payload(message[self.read_keys(message) :])

    def read_keys(self, message: bytes) -> int:
        """All of their next message but the payload, for `read_payload`; how many bytes that was.

        NoiseError when it is refused, ValueError when it is not their turn.
        """
        offset = 0
        for token in self._next_tokens(writing=False):
            offset += self._read(token, message, offset)
        return offset

    def read_payload(self, encrypted: bytes) -> bytes:
        """What follows the keys in the message whose keys were read last; NoiseError when it is refused."""
        return self._symmetric.decrypt_and_hash(encrypted)

    def next_overhead(self) -> int:
        """Bytes that the next message, written with a key, has beside its payload."""
        lengths = {Token.E: DH_LENGTH, Token.S: DH_LENGTH + TAG_LENGTH}
        if self._suite.kem is not None:
            lengths[Token.EKEM1] = self._suite.kem.ciphertext_length + TAG_LENGTH
        tokens = self.pattern.messages[self._messages_done]
        return sum(lengths.get(token, 0) for token in tokens) + TAG_LENGTH

    def split(self) -> tuple[bytes, bytes]:
        """The 32-byte keys for sending and for receiving; ValueError before the handshake is finished."""
        if not self.finished:
            raise ValueError("the handshake is not finished")
        of_initiator, of_responder = self._symmetric.split()
        return (of_initiator, of_responder) if self.initiator else (of_responder, of_initiator)

    def _next_tokens(self, *, writing: bool) -> tuple[Token, ...]:
        done = self._messages_done
        if self.finished or (done % 2 == 0) != (self.initiator == writing):
            raise ValueError("it is not this side's turn")
        self._messages_done += 1
        return self.pattern.messages[done]

    # Tokens

    def _write(self, token: Token, entropy: Entropy) -> bytes:
        symmetric = self._symmetric
        match token:
            case Token.E:
                self._ephemeral = self._suite.dh.key_pair(entropy(DH_LENGTH))
                symmetric.mix_hash(self._ephemeral.public)
                return self._ephemeral.public
            case Token.S:
                return symmetric.encrypt_and_hash(self._static.public)
            case Token.E1:
                kem = self._kem()
                self._ephemeral_kem = kem.key_pair(entropy(kem.seed_length))
                return symmetric.encrypt_and_hash(self._ephemeral_kem.public)
            case Token.EKEM1:
                secret, ciphertext = self._kem().encapsulate(self._remote_kem)
                sent = symmetric.encrypt_and_hash(ciphertext)
                symmetric.mix_key(secret)
                return sent
            case _:
                symmetric.mix_key(self._agree(token))
                return b""

    def _read(self, token: Token, message: bytes, offset: int) -> int:
        """Take in what stands for `token`; how many bytes that was."""
        symmetric = self._symmetric
        match token:
            case Token.E:
                self._remote_ephemeral = _cut(message, offset, DH_LENGTH)
                symmetric.mix_hash(self._remote_ephemeral)
                return DH_LENGTH
            case Token.S:
                encrypted = _cut(message, offset, DH_LENGTH + self._tag_length)
                self.remote_static = symmetric.decrypt_and_hash(encrypted)
            case Token.E1:
                encrypted = _cut(message, offset, self._kem().public_length + self._tag_length)
                self._remote_kem = symmetric.decrypt_and_hash(encrypted)
            case Token.EKEM1:
                encrypted = _cut(message, offset, self._kem().ciphertext_length + self._tag_length)
                ciphertext = symmetric.decrypt_and_hash(encrypted)
                symmetric.mix_key(_present(self._ephemeral_kem).decapsulate(ciphertext))
            case _:
                symmetric.mix_key(self._agree(token))
                return 0
        return len(encrypted)

    def _agree(self, token: Token) -> bytes:
        """The shared secret of `ee`, `es` or `se`: first the initiator's key, then the responder's."""
        of_initiator, of_responder = token.value[0], token.value[1]
        ours, theirs = (of_initiator, of_responder) if self.initiator else (of_responder, of_initiator)
        pair = _present(self._ephemeral) if ours == "e" else self._static
        return pair.exchange(self._remote_ephemeral if theirs == "e" else self.remote_static)

    def _kem(self) -> Kem:
        return _present(self._suite.kem)

    @property
    def _tag_length(self) -> int:
        return TAG_LENGTH if self._symmetric.has_key else 0


def _cut(message: bytes, offset: int, length: int) -> bytes:
    if len(message) < offset + length:
        raise NoiseError(f"handshake message of {len(message)} bytes cut off")
    return message[offset : offset + length]


def _present(value: _T | None) -> _T:
    """What a pattern brings about before it uses it."""
    if value is None:
        raise ValueError("this suite lacks what the pattern needs")
    return value
