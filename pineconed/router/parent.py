# SPDX-License-Identifier: Apache-2.0
"""The two decisions of the spanning tree, as pure functions (protocol section 4).

What to do about an announcement, and whether a peer would be a better parent than the best so far.
"""

from enum import StrEnum
from typing import NamedTuple

from pineconed.wire.root import Root

ANNOUNCEMENT_TIMEOUT = 45 * 60.0
"""Seconds after which a peer's announcement no longer makes it a parent."""

WORST_ORDER = float("inf")


class Action(StrEnum):
    """What an announcement leads to."""

    DROP = "drop"
    ACCEPT_UPDATE = "accept_update"
    ACCEPT_NEW_PARENT = "accept_new_parent"
    SELECT_PARENT = "select_parent"
    BECOME_ROOT_AND_WAIT = "become_root_and_wait"
    INFORM_PEER = "inform_peer"


def compare_keys(a: bytes, b: bytes) -> int:
    """-1, 0 or 1 as key `a` is weaker than, the same as or stronger than key `b`."""
    return (a > b) - (a < b)


def announcement_action(
    *, from_parent: bool, contains_loop: bool, root_key_delta: int, new_sequence: int, last_sequence: int
) -> Action:
    """Decide what an announcement leads to; the first condition of the table that matches counts.

    `root_key_delta` compares its root key with that of the root we follow, before it is stored;
    `contains_loop` says that our key is among the signers or that one signed twice.
    """
    if from_parent:
        if contains_loop or root_key_delta < 0:
            return Action.BECOME_ROOT_AND_WAIT
        if root_key_delta > 0 or new_sequence > last_sequence:
            return Action.ACCEPT_UPDATE
        return Action.BECOME_ROOT_AND_WAIT if new_sequence == last_sequence else Action.DROP
    if contains_loop:
        return Action.DROP
    if root_key_delta > 0:
        return Action.ACCEPT_NEW_PARENT
    return Action.INFORM_PEER if root_key_delta < 0 else Action.SELECT_PARENT


class Candidate(NamedTuple):
    """A peer's announcement, seen as an offer to be the parent. `age` in seconds."""

    root: Root
    order: int
    age: float
    contains_loop: bool


def is_better_parent(candidate: Candidate, best_root: Root, best_order: float) -> bool:
    """Whether a peer is a better parent than the best so far (start with `WORST_ORDER`).

    The stronger root key wins, then the higher sequence, then what was heard first.
    """
    if candidate.contains_loop or candidate.age >= ANNOUNCEMENT_TIMEOUT:
        return False
    if candidate.root.public_key != best_root.public_key:
        return candidate.root.public_key > best_root.public_key
    if candidate.root.sequence != best_root.sequence:
        return candidate.root.sequence > best_root.sequence
    return candidate.order < best_order
