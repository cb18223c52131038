# SPDX-License-Identifier: Apache-2.0
"""A bounded table is divided among the peerings that fill it."""

from pineconed.router.shares import Shares


def fill(shares: Shares, port: int, peerings: int) -> int:
    added = 0
    while shares.admits(port, peerings, holds_it=False):
        shares.add(port)
        added += 1
    return added


def test_one_port_gets_no_more_than_its_share() -> None:
    shares = Shares(limit=100)
    assert fill(shares, port=1, peerings=3) == 25
    assert fill(shares, port=2, peerings=3) == 25


def test_a_full_share_may_renew_what_it_holds_and_room_comes_back() -> None:
    shares = Shares(limit=8)
    fill(shares, port=1, peerings=1)
    assert shares.admits(1, 1, holds_it=True)
    shares.remove(1)
    assert shares.admits(1, 1, holds_it=False)


def test_a_port_above_a_share_that_shrank_may_not_renew() -> None:
    shares = Shares(limit=8)
    fill(shares, port=1, peerings=1)
    assert not shares.admits(1, 3, holds_it=True)
    assert fill(shares, port=2, peerings=3) == 2


def test_common_rows_are_for_whoever_comes_first_and_shares_are_kept_beside_them() -> None:
    shares = Shares(limit=100, common=60)
    assert fill(shares, port=1, peerings=3) == 60
    assert fill(shares, port=2, peerings=3) == 10
    assert not shares.admits(1, 3, holds_it=True)
    shares.remove(1)
    shares.remove(2)
    for _ in range(10):
        shares.remove(1)
    assert shares.admits(1, 3, holds_it=False)
