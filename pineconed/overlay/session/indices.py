# SPDX-License-Identifier: Apache-2.0
"""The numbers by which other nodes name our handshakes and sessions."""

from pineconed.overlay.noise.primitives import Entropy
from pineconed.overlay.session.answer import Answer
from pineconed.overlay.session.initiation import Initiation
from pineconed.overlay.session.session import Numbered, Session

Owner = Session | Initiation | Answer


class Indices:
    """What each number in use stands for. A handshake hands its number on to the session that it makes."""

    __slots__ = ("_entropy", "owners")

    def __init__(self, entropy: Entropy) -> None:
        self.owners: dict[int, Owner] = {}
        """For the per-packet path."""
        self._entropy = entropy

    def draw(self) -> int:
        """A random number of 32 bits that nothing has; nobody off the path can guess it."""
        while (index := int.from_bytes(self._entropy(4))) in self.owners:
            pass
        return index

    def release(self, owner: Numbered) -> None:
        """Give back the number of `owner`, unless something else has taken it over."""
        if self.owners.get(owner.index) is owner:
            del self.owners[owner.index]
