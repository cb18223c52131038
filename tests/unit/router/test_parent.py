# SPDX-License-Identifier: Apache-2.0
"""The two decisions of the spanning tree, against all the cases of the vectors."""

from typing import Any

import pytest

from pineconed.router.parent import Candidate, announcement_action, compare_keys, is_better_parent
from pineconed.wire.root import Root
from tests.vectors_source import load_vectors

BEST_KEY = bytes([128]) + bytes(31)


@pytest.mark.vectors
@pytest.mark.parametrize("case", load_vectors("announcement_actions"))
def test_announcement_leads_to_the_action_of_the_reference(case: dict[str, Any]) -> None:
    action = announcement_action(
        from_parent=case["sender_is_parent"],
        contains_loop=case["contains_loop"],
        root_key_delta=case["root_key_delta"],
        new_sequence=case["new_sequence"],
        last_sequence=case["last_sequence"],
    )
    assert action == case["action"]


@pytest.mark.vectors
@pytest.mark.parametrize("case", load_vectors("parent_candidates"))
def test_candidate_is_judged_as_by_the_reference(case: dict[str, Any]) -> None:
    key = bytes([128 + case["root_key_delta"]]) + bytes(31)
    candidate = Candidate(
        Root(key, case["sequence"]), case["receive_order"], case["age_minutes"] * 60.0, case["contains_loop"]
    )
    best = Root(BEST_KEY, case["best_sequence"])
    assert is_better_parent(candidate, best, case["best_order"]) is case["better"]


def test_keys_are_compared_as_byte_strings() -> None:
    assert [compare_keys(b"a", b"b"), compare_keys(b"b", b"b"), compare_keys(b"c", b"b")] == [-1, 0, 1]
