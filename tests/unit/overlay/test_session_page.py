# SPDX-License-Identifier: Apache-2.0
"""What operators see of sessions: one row a peer, a page at a time."""

from unittest.mock import patch

import pytest

from pineconed.overlay import session_page as module
from pineconed.overlay.session.table import MAX_SESSIONS
from pineconed.overlay.snapshots import MAX_ROWS, SessionPage, SessionSnapshot
from tests.unit.overlay.conversation import Conversation, lost, one_more


def test_only_the_rows_of_a_page_are_made() -> None:
    talk = Conversation()
    talk.establish()
    for number in range(MAX_SESSIONS - 1):
        one_more(talk, talk.a, number)
    pages: list[SessionPage] = []
    cursor = None
    while not pages or cursor is not None:
        with patch.object(module, "SessionSnapshot", wraps=SessionSnapshot) as made:
            page = talk.a.endpoint.session_page(talk.moment, cursor, 10**6)
        assert made.call_count == len(page.sessions) <= MAX_ROWS
        assert page.total == MAX_SESSIONS
        pages.append(page)
        cursor = page.next_cursor
    addresses = [row.address for page in pages for row in page.sessions]
    assert [len(page.sessions) for page in pages] == [MAX_ROWS] * 4 + [MAX_SESSIONS - 4 * MAX_ROWS]
    assert addresses == sorted(set(addresses))
    assert len(addresses) == MAX_SESSIONS


@pytest.mark.parametrize(("limit", "rows", "more"), [(1, 1, True), (2, 2, False), (3, 2, False)])
def test_a_page_ends_at_its_limit(limit: int, rows: int, more: bool) -> None:
    talk = Conversation()
    talk.establish()
    one_more(talk, talk.a, 0xFFFFFFFF)
    page = talk.a.endpoint.session_page(talk.moment, None, limit)
    assert (len(page.sessions), page.next_cursor is not None) == (rows, more)
    behind = talk.a.endpoint.session_page(talk.moment, page.sessions[-1].address, limit)
    assert (len(behind.sessions), behind.next_cursor) == (2 - rows, None)


def listed() -> Conversation:
    """A reaches b in the clear; b has not listed a."""
    talk = Conversation(a={"bare_ipv6": []})
    talk.a.options["bare_ipv6"] = [talk.b.key]
    talk.restart(talk.a)
    talk.send(talk.a, talk.a.packet(1, 52))
    return talk


def test_a_listed_node_with_a_session_has_one_row() -> None:
    talk = listed()
    [row] = talk.pictures(talk.a)
    assert (row.state, row.in_clear, row.tx_packets, row.tx_bytes) == ("bare", True, 1, 100)
    talk.send(talk.b, talk.b.packet(2, 52))
    talk.run(1.0)
    talk.send(talk.a, talk.a.packet(3, 52))
    [row] = talk.pictures(talk.a)
    assert (row.state, row.in_clear, row.public_key) == ("up", True, talk.b.key)
    assert (row.tx_packets, row.tx_bytes, row.rx_packets, row.rx_bytes) == (2, 200, 1, 100)
    assert talk.a.endpoint.session(talk.b.key[:15], talk.moment) == row
    [row] = talk.pictures(talk.b)
    assert (row.state, row.in_clear) == ("up", False)


def test_a_listed_node_that_is_dialled_has_one_row() -> None:
    talk = listed()
    talk.wire = lost
    talk.ping(talk.a, b"hello")
    [row] = talk.pictures(talk.a)
    assert (row.state, row.in_clear) == ("bare", True)


def test_a_listed_node_is_marked_while_it_is_dialled() -> None:
    talk = Conversation()
    talk.a.options["bare_ipv6"] = [talk.b.key]
    talk.restart(talk.a)
    talk.wire = lost
    talk.ping(talk.a, b"hello")
    [row] = talk.pictures(talk.a)
    assert (row.state, row.in_clear) == ("dialling", True)


def test_a_peer_that_is_not_there() -> None:
    talk = Conversation()
    assert talk.a.endpoint.session(talk.b.key[:15], talk.moment) is None
    page = talk.a.endpoint.session_page(talk.moment, None, 10)
    assert (page.sessions, page.total, page.next_cursor) == ([], 0, None)
