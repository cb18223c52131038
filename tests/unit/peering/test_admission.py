# SPDX-License-Identifier: Apache-2.0
"""The rules about who may peer."""

import pytest

from pineconed.peering.admission import Admission, Candidate

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def candidate(key: bytes, *allowed: bytes, named: bool = False, proven: bytes | None = None) -> Candidate:
    return Candidate(key, proven, frozenset(allowed), named)


def found(key: bytes, announced: bytes) -> Candidate:
    """The node with this key answered where a beacon had announced that one."""
    return Candidate(key, None, frozenset({announced}), named=False, dialled=True)


def claimed(key: bytes, prefix: bytes) -> Candidate:
    """The node with this key answered where one had said by Bluetooth that its key begins so."""
    return Candidate(key, None, frozenset(), named=False, dialled=True, key_prefix=prefix)


@pytest.mark.parametrize(
    ("rules", "who", "words"),
    [
        (Admission(), candidate(ONE), None),
        (Admission(allowed_keys=frozenset({ONE})), candidate(ONE), None),
        (Admission(allowed_keys=frozenset({ONE})), candidate(TWO), "not allowed (peering.allowed_keys)"),
        (Admission(allowed_keys=frozenset({ONE})), candidate(TWO, named=True), None),
        (Admission(allowed_keys=frozenset({ONE})), candidate(TWO, TWO), None),
        (Admission(allowed_keys=frozenset({ONE})), candidate(ONE, TWO), "not allowed here (key= in the list"),
        (Admission(), candidate(ONE, TWO, THREE), "not allowed here (key= in the listener's URI)"),
        (Admission(), candidate(ONE, TWO, named=True), "another node answered: its key 0101"),
        (Admission(), candidate(ONE, ONE, TWO, named=True), None),
        (Admission(blocked_keys=frozenset({ONE})), candidate(ONE, ONE, named=True), "is blocked"),
        (Admission(blocked_keys=frozenset({ONE})), candidate(TWO), None),
        (Admission(), found(ONE, ONE), None),
        (Admission(), found(ONE, TWO), "another node answered: its key 0101"),
        (Admission(allowed_keys=frozenset({ONE})), found(ONE, ONE), None),
        (Admission(allowed_keys=frozenset({TWO})), found(ONE, ONE), "not allowed (peering.allowed_keys)"),
        (Admission(), claimed(ONE, ONE[:18]), None),
        (Admission(), claimed(ONE, TWO[:18]), f"its key {ONE.hex()} does not begin with {TWO[:18].hex()}"),
        (Admission(blocked_keys=frozenset({ONE})), claimed(ONE, ONE[:18]), "is blocked"),
        (Admission(allowed_keys=frozenset({TWO})), claimed(ONE, ONE[:18]), "not allowed (peering.allowed"),
        (Admission(), candidate(ONE, proven=ONE), None),
        (Admission(), candidate(ONE, proven=TWO), "but TLS proved another"),
    ],
)
def test_keys(rules: Admission, who: Candidate, words: str | None) -> None:
    objection = rules.objection(who, 7)
    if words is None:
        assert objection is None
    else:
        assert objection is not None
        assert words in objection.text
        assert not objection.full


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Admission(), None),
        (Admission(allowed_keys=frozenset({ONE, TWO})), None),
        (Admission(allowed_keys=frozenset({TWO})), "no key that begins with 0101"),
        (Admission(blocked_keys=frozenset({ONE})), f"the key {ONE.hex()} is blocked"),
        (Admission(blocked_keys=frozenset({TWO})), None),
    ],
)
def test_the_beginning_of_a_key_tells_whether_its_owner_is_worth_a_dial(
    rules: Admission, words: str | None
) -> None:
    reason = rules.unwelcome_prefix(ONE[:18])
    assert (words in reason) if words and reason else reason is words


def test_beyond_the_most_peers_only_configured_ones_are_taken() -> None:
    rules = Admission(max_peers=2)
    assert rules.objection(candidate(ONE), peers=1) is None
    assert rules.objection(candidate(ONE, named=True), peers=2) is None
    objection = rules.objection(candidate(ONE), peers=2)
    assert objection is not None
    assert objection.full
    assert "peering.max_peers" in objection.text


def test_an_unwelcome_node_is_told_so_also_when_the_house_is_full() -> None:
    objection = Admission(blocked_keys=frozenset({ONE}), max_peers=0).objection(candidate(ONE), peers=5)
    assert objection is not None
    assert not objection.full
