# SPDX-License-Identifier: Apache-2.0
"""Where peers come from, and what a change in one place means for those that are in another."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pineconed.admin.errors import SaveError
from pineconed.daemon import roster
from pineconed.daemon.roster import Difference, Roster
from pineconed.daemon.saved_peers import read_saved, write_saved
from pineconed.router.peer import LinkOptions
from pineconed.transport.authority import UriError
from pineconed.transport.dialer import Dialer
from pineconed.transport.stream import Stream
from pineconed.transport.uri import PeerUri

A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"
KEYED = f"{A}?key={'ab' * 32}"


class Bench:
    """A roster over a real dialler whose connections all come about; notes what is hung up."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "peers.toml"
        self.hung_up: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.dialer = Dialer(self._connect, self._attach)
        self.roster = Roster(self.dialer, self._hang_up, self.file, "file")

    async def _connect(self, uri: PeerUri, _: float) -> Stream:
        return cast("Stream", SimpleNamespace(proven_key=None))

    def _attach(self, _: Stream, options: LinkOptions) -> int:
        self.links.append(options.uri)
        return len(self.links) - 1

    def _hang_up(self, link: int, reason: str) -> None:
        self.hung_up.append((self.links[link], reason))

    def rows(self) -> list[tuple[str, str]]:
        return [(peer.uri, peer.source) for peer in self.roster.peers()]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]:
    """Run a check over a bench, inside a loop."""

    def call(check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            bench = Bench(tmp_path)
            await check(bench)
            await bench.dialer.close()

        asyncio.run(whole())

    return call


Run = Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]


def test_the_file_stands_above_the_saved_peers(run: Run) -> None:
    async def check(bench: Bench) -> None:
        assert bench.roster.configure([A], [KEYED, B]) == Difference((), (A, B))
        assert bench.rows() == [(A, "file"), (B, "saved")]

    run(check)


def test_only_differences_are_applied(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([A, B], [])
        await bench.roster.add(C, "api")
        await asyncio.sleep(0.01)
        assert bench.roster.configure([A, B], []) == Difference((), ())
        assert bench.hung_up == []
        assert bench.roster.configure([KEYED], []) == Difference((A, B), (A,))
        assert [uri for uri, _ in bench.hung_up] == [A, B]
        assert bench.rows() == [(C, "api"), (A, "file")]
        await asyncio.sleep(0.01)
        assert bench.links == [A, B, C, A]

    run(check)


def test_a_peer_that_leaves_the_file_stays_while_another_place_names_it(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([A], [A])
        await asyncio.sleep(0.01)
        assert bench.roster.configure([], [A]) == Difference((), ())
        assert (bench.rows(), bench.hung_up) == ([(A, "saved")], [])

    run(check)


def test_one_of_the_file_that_was_removed_comes_back_only_when_the_file_changes(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([A], [])
        assert await bench.roster.remove("A:1")
        assert await bench.roster.remove(A) is None
        bench.roster.configure([A, B], [])
        assert bench.rows() == [(B, "file")], "a reload does not bring it back"
        bench.roster.configure([KEYED, B], [])
        assert bench.rows() == [(B, "file"), (A, "file")], "new options do"

    run(check)


def test_one_of_the_file_that_was_removed_can_be_added_again(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([A], [])
        await bench.roster.remove(A)
        await bench.roster.add(KEYED, "api")
        assert bench.rows() == [(A, "api")]
        bench.roster.configure([A], [])
        assert bench.rows() == [(A, "api")]

    run(check)


def test_saving_and_removing_write_the_file(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([], [])
        await bench.roster.add("tls://a:1?password=secret", "saved")
        await bench.roster.add(B, "api")
        assert read_saved(bench.file) == ("tls://a:1?password=secret",)
        await bench.roster.add(B, "saved")
        assert bench.rows() == [("tls://a:1", "saved"), (B, "saved")]
        assert await bench.roster.remove("tls://a:1")
        assert read_saved(bench.file) == (B,)

    run(check)


def test_a_slow_disk_holds_up_nothing_but_the_next_change(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = threading.Event()

    def write_slowly(path: Path, uris: Sequence[str]) -> None:
        disk.wait(5)
        write_saved(path, uris)

    monkeypatch.setattr(roster, "write_saved", write_slowly)

    async def check(bench: Bench) -> None:
        changes = [asyncio.create_task(bench.roster.add(uri, "saved")) for uri in (A, B)]
        changes.append(asyncio.create_task(bench.roster.add(A, "saved")))
        await asyncio.sleep(0.01)
        assert (bench.rows(), bench.roster.busy.locked()) == ([], True)
        disk.set()
        assert await asyncio.gather(*changes) == [A, B, None]
        assert read_saved(bench.file) == (A, B)

    run(check)


def test_one_of_the_file_is_not_saved_besides(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.roster.configure([A], [])
        await bench.roster.add(A, "saved")
        assert (bench.rows(), bench.file.exists()) == ([(A, "file")], False)

    run(check)


def test_what_cannot_be_written_changes_nothing(run: Run) -> None:
    async def check(bench: Bench) -> None:
        bench.file.mkdir()
        bench.roster.configure([], [A])
        with pytest.raises(SaveError):
            await bench.roster.add(B, "saved")
        with pytest.raises(SaveError):
            await bench.roster.remove(A)
        assert bench.rows() == [(A, "saved")]

    run(check)


def test_adding_twice_dials_once(run: Run) -> None:
    async def check(bench: Bench) -> None:
        await bench.roster.add("a:1", "api")
        await bench.roster.add("tcp://A:1", "api")
        assert bench.rows() == [(A, "api")]
        await asyncio.sleep(0.01)
        assert bench.links == [A]

    run(check)


def test_what_is_no_uri(run: Run) -> None:
    async def check(bench: Bench) -> None:
        with pytest.raises(UriError):
            await bench.roster.add("gopher://x", "api")
        assert await bench.roster.remove("gopher://x") is None

    run(check)
