# SPDX-License-Identifier: Apache-2.0
"""Who may be a peer of this node: asked at every handshake, before the peering gets a port."""

from dataclasses import dataclass
from typing import NamedTuple


class Candidate(NamedTuple):
    """The other end of a stream at the end of its handshake.

    proven_key: the key that the transport proved, None when it proves none. allowed_keys: the keys that the
    URI or the listener admits, empty for all. named: the operator configured this peer.
    dialled: this node opened the stream; if the peer is not named, because it was found on the network.
    key_prefix: what the key has to begin with.
    """

    public_key: bytes
    proven_key: bytes | None
    allowed_keys: frozenset[bytes]
    named: bool
    dialled: bool = False
    key_prefix: bytes = b""


class Objection(NamedTuple):
    """Why a node may be no peer, fit for a log line; `full` says that another day it may."""

    text: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """The operator's rules.

    allowed_keys: who may be a peer without being configured; empty for everybody. A listener with keys of its
    own takes those instead. blocked_keys: who never may, also if configured. max_peers: peerings beyond which
    only configured peers get one.
    """

    allowed_keys: frozenset[bytes] = frozenset()
    blocked_keys: frozenset[bytes] = frozenset()
    max_peers: int = 253

    def objection(self, candidate: Candidate, peers: int) -> Objection | None:
        """Why this node may be no peer of one that has so many peers; None when it may."""
        if reason := self.unwelcome(candidate):
            return Objection(reason)
        if peers >= self.max_peers and not candidate.named:
            return Objection(
                f"this node has {peers} peers, the most that peering.max_peers allows", full=True
            )
        return None

    def unwelcome(self, candidate: Candidate) -> str | None:
        """Why this node may be no peer at any time; None when it may."""
        key = candidate.public_key
        if candidate.proven_key not in {None, key}:
            return f"the handshake names the key {key.hex()}, but TLS proved another"
        if key in self.blocked_keys:
            return f"the key {key.hex()} is blocked (peering.blocked_keys)"
        if candidate.allowed_keys and key not in candidate.allowed_keys:
            return _unlisted(candidate)
        if not key.startswith(candidate.key_prefix):
            claimed = candidate.key_prefix.hex()
            return f"another node answered: its key {key.hex()} does not begin with {claimed} as it claimed"
        if candidate.named or (candidate.allowed_keys and not candidate.dialled):
            return None
        if self.allowed_keys and key not in self.allowed_keys:
            return f"the key {key.hex()} is not allowed (peering.allowed_keys)"
        return None

    def unwelcome_prefix(self, prefix: bytes) -> str | None:
        """Why a node that nobody named may be no peer, if all that is known is how its key begins."""
        for key in self.blocked_keys:
            if key.startswith(prefix):
                return f"the key {key.hex()} is blocked (peering.blocked_keys)"
        if self.allowed_keys and not any(key.startswith(prefix) for key in self.allowed_keys):
            return f"no key that begins with {prefix.hex()} is allowed (peering.allowed_keys)"
        return None


def _unlisted(candidate: Candidate) -> str:
    key = candidate.public_key.hex()
    if candidate.named:
        return f"another node answered: its key {key} is not the one after key= in the URI"
    if candidate.dialled:
        return f"another node answered: its key {key} is not the one in the beacon"
    return f"the key {key} is not allowed here (key= in the listener's URI)"
