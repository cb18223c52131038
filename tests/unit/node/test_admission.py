# SPDX-License-Identifier: Apache-2.0
"""The node asks who may peer at every handshake, and again when the rules change."""

from dataclasses import replace

from pineconed.peering.admission import Admission
from pineconed.router.events import CloseLink
from tests.unit.node.rig import CONFIGURED, INBOUND, SIGNERS, Rig, Stranger

US, GUEST, OTHER = SIGNERS[:3]


def test_a_blocked_key_gets_no_port() -> None:
    rig = Rig(US)
    rig.nodes[0].admit_by(Admission(blocked_keys=frozenset({GUEST.public_key})), rig.now)
    guest = Stranger(rig, GUEST)
    guest.shake_hands()
    assert guest.closed_because == f"the key {GUEST.public_key.hex()} is blocked (peering.blocked_keys)"
    assert guest.down[0].port is None
    assert rig.nodes[0].status(rig.now).peers == 0


def test_the_handshake_must_name_the_key_that_the_transport_proved() -> None:
    rig = Rig(US)
    liar = Stranger(rig, GUEST, replace(INBOUND, proven_key=OTHER.public_key))
    liar.shake_hands()
    assert liar.closed_because is not None
    assert "TLS proved another" in liar.closed_because
    honest = Stranger(rig, GUEST, replace(INBOUND, proven_key=GUEST.public_key))
    honest.shake_hands()
    assert honest.closed_because is None
    assert [row.proven for row in rig.nodes[0].peerings(rig.now)] == [True]


def test_a_dialled_peer_must_have_one_of_the_keys_of_its_uri() -> None:
    rig = Rig(US)
    pinned = replace(CONFIGURED, allowed_keys=frozenset({OTHER.public_key}))
    wrong, right = Stranger(rig, GUEST, pinned), Stranger(rig, OTHER, pinned)
    wrong.shake_hands()
    right.shake_hands()
    assert wrong.closed_because is not None
    assert "another node answered" in wrong.closed_because
    assert right.closed_because is None


def test_new_rules_end_the_peerings_that_they_do_not_admit() -> None:
    rig = Rig(US)
    guest, other, configured = Stranger(rig, GUEST), Stranger(rig, OTHER), Stranger(rig, GUEST, CONFIGURED)
    for stranger in (guest, other, configured):
        stranger.shake_hands()
    rig.nodes[0].admit_by(Admission(allowed_keys=frozenset({OTHER.public_key}), max_peers=0), rig.now)
    rig.settle()
    assert guest.closed_because is not None
    assert "not allowed" in guest.closed_because
    assert other.closed_because is configured.closed_because is None
    assert not any(event.remote_fault for event in rig.log[0] if isinstance(event, CloseLink))


def test_beyond_the_most_peers_a_stranger_is_told_no() -> None:
    rig = Rig(US)
    rig.nodes[0].admit_by(Admission(max_peers=1), rig.now)
    first, second, configured = Stranger(rig, GUEST), Stranger(rig, OTHER), Stranger(rig, OTHER, CONFIGURED)
    for stranger in (first, second, configured):
        stranger.shake_hands()
    assert first.closed_because is configured.closed_because is None
    assert second.closed_because == "this node has 1 peers, the most that peering.max_peers allows"


def test_what_the_transport_took_of_the_time_is_not_given_again() -> None:
    rig = Rig(US)
    slow = Stranger(rig, GUEST, replace(INBOUND, spent=7.0))
    rig.advance(2.9)
    assert slow.closed_because is None
    rig.advance(0.2)
    assert slow.closed_because == "no handshake within 10 s, 0 of 104 bytes came"
