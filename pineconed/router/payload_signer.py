# SPDX-License-Identifier: Apache-2.0
"""How this node makes itself known: the payloads of its own bootstraps and broadcasts (sections 5 and 7)."""

from pineconed.clock import Now
from pineconed.signing import Signer
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import encode_payload, sign_payload


class PayloadSigner:
    """Signs payloads whose sequence is Unix time in milliseconds and rises whatever the clock does."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._sequence = 0

    def payload(self, root: Root, now: Now) -> bytes:
        """The payload of the next frame, which says that we follow `root`."""
        self._sequence = max(now.unix_ms, self._sequence + 1)
        return encode_payload(sign_payload(self._sequence, root, self._signer))
