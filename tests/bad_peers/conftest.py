# SPDX-License-Identifier: Apache-2.0
"""The node under attack, with an honest peer that must not notice."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest

from pineconed.signing import Ed25519Signer
from tests.bad_peers.client import BadPeer
from tests.network.conftest import require_lab
from tests.network.lab import Lab, Namespace, wait_until
from tests.network.nodes import PORT, Pineconed, seed_with_prefix

TARGET_SEED = seed_with_prefix("c")


class Target:
    """A node without a TUN device and the honest node that peers with it, both in one namespace.

    The honest node has the higher key: it is the root, and what the target follows must not change.
    """

    def __init__(self, host: Namespace) -> None:
        self.host = host
        self.node = Pineconed(host, [f"127.0.0.1:{PORT}"], tun="none", seed=TARGET_SEED, log_level="debug")
        self.node.wait_ready()
        honest_seed = seed_with_prefix("e", 1)
        self.honest = Pineconed(host, [], [f"127.0.0.1:{PORT}"], tun="none", seed=honest_seed).wait_ready()
        self._sources = itertools.count(1)
        wait_until(lambda: self.node.place().root == self.honest.public_key.hex(), 15, "the honest peering")

    def connect(self, signer: Ed25519Signer | None = None, source: str | None = None) -> BadPeer:
        """Open a connection, each time from another address of the loopback network."""
        source = source or f"127.0.1.{next(self._sources)}"
        return BadPeer(self.host.connect("127.0.0.1", PORT, source=source), signer)

    def honest_peering(self) -> dict[str, object]:
        """What identifies the honest peering; a new one would have another port or address."""
        key = self.honest.public_key.hex()
        rows = [row for row in self.node.peers() if row["public_key"] == key]
        assert len(rows) == 1
        return {name: rows[0][name] for name in ("port", "state", "uri", "direction")}

    def log_since(self, mark: int) -> list[str]:
        """Lines the node logged since its log had `mark` lines."""
        return self.node.process.text().splitlines()[mark:]

    def lines(self) -> int:
        """How many lines the node has logged."""
        return len(self.node.process.text().splitlines())


@pytest.fixture(scope="module")
def shared_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Start the node and its honest peer once for a module."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("bad-peers")) as lab:
        yield Target(lab.host("target"))


@pytest.fixture
def target(shared_target: Target) -> Iterator[Target]:
    """Lend the node to a test and afterwards check that the honest peer noticed nothing."""
    before = shared_target.honest_peering()
    ended = len(shared_target.honest.disconnects())
    yield shared_target
    assert shared_target.node.process.alive
    assert shared_target.honest_peering() == before
    assert len(shared_target.honest.disconnects()) == ended
    place = shared_target.node.place()
    assert place.root == shared_target.honest.public_key.hex()


@pytest.fixture
def one_line(target: Target) -> Callable[[str], None]:
    """Check that the log says what happened, in exactly one line at `info` or above."""
    mark = target.lines()

    def check(cause: str) -> None:
        def found() -> list[str]:
            return [line for line in target.log_since(mark) if re.search(cause, line, re.IGNORECASE)]

        wait_until(lambda: bool(found()), 5, lambda: f"{cause!r} in {target.log_since(mark)}")
        told = [line for line in found() if not re.search(r"\bdebug\b", line)]
        assert len(told) == 1, told

    return check
